// Usage: npm install && node recommend.js [HOST:PORT] [USER]
// GNNREC_TLS_CA and GNNREC_TOKEN: a PEM file of roots to trust, and a bearer token sent with TLS.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const PROTOS = path.join(__dirname, "..", "..", "protos");
const definition = protoLoader.loadSync(
  [
    path.join(PROTOS, "gnnrec/v1/recommender.proto"),
    path.join(__dirname, "google/rpc/status.proto"),
  ],
  { includeDirs: [PROTOS, __dirname], keepCase: true, longs: Number, enums: String, oneofs: true },
);
const { gnnrec } = grpc.loadPackageDefinition(definition);

// UNAVAILABLE alone is tried again, and several addresses take turns.
const SERVICE_CONFIG = JSON.stringify({
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      name: [{}],
      retryPolicy: {
        maxAttempts: 4,
        initialBackoff: "0.05s",
        maxBackoff: "0.5s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
  retryThrottling: { maxTokens: 100, tokenRatio: 0.1 },
});

function connect(address) {
  const { GNNREC_TLS_CA: ca, GNNREC_TOKEN: token } = process.env;
  let credentials = grpc.credentials.createInsecure();
  if (ca) {
    credentials = grpc.credentials.createSsl(fs.readFileSync(ca));
    if (token) {
      const bearer = grpc.credentials.createFromMetadataGenerator((_, done) => {
        const metadata = new grpc.Metadata();
        metadata.set("authorization", `Bearer ${token}`);
        done(null, metadata);
      });
      credentials = grpc.credentials.combineChannelCredentials(credentials, bearer);
    }
  }
  return new gnnrec.v1.RecommenderService(address, credentials, {
    "grpc.service_config": SERVICE_CONFIG,
  });
}

// Calls a method and gives up after a second, as the Python client does.
function call(client, method, request) {
  return new Promise((resolve, reject) => {
    const deadline = new Date(Date.now() + 1000);
    client[method](request, { deadline }, (error, response) =>
      error ? reject(error) : resolve(response),
    );
  });
}

// Reads google.rpc.ErrorInfo from an error: its reason, such as USER_NOT_FOUND.
function reason(error) {
  const [bytes] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!bytes) return "";
  const decode = (name, value) => definition[name].deserialize(value);
  for (const detail of decode("google.rpc.Status", bytes).details) {
    if (detail.type_url.endsWith("/google.rpc.ErrorInfo")) {
      return decode("google.rpc.ErrorInfo", detail.value).reason;
    }
  }
  return "";
}

async function main() {
  const [address = "127.0.0.1:50051", user = "person-0"] = process.argv.slice(2);
  const client = connect(address);
  try {
    const answer = await call(client, "TopK", { user_id: user, k: 5, with_titles: true });
    console.log(`for ${user}, by ${answer.variant} of ${answer.version}:`);
    answer.item_ids.forEach((item, place) => {
      console.log(`${item} ${answer.scores[place].toFixed(4)} ${answer.titles[place] ?? ""}`);
    });
    const scored = await call(client, "Score", { user_id: user, item_ids: answer.item_ids });
    console.log(`scored alike: ${scored.scores.every((s, place) => s === answer.scores[place])}`);
  } catch (error) {
    console.error(`${grpc.status[error.code] ?? ""} ${reason(error)}: ${error.details ?? error}`);
    process.exitCode = 1;
  } finally {
    client.close();
  }
}

main();
