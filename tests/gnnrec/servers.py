"""A small gRPC server with scripted answers and failures, for tests of the clients."""

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_protos.v1 import recommender_pb2_grpc as rpc

Context = Any


class Told(rpc.RecommenderServiceServicer):
    """Answers TopK with its own name as the version, after failing with the given statuses."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[dict[str, str]] = []
        """The metadata of each call."""
        self.failures: list[status_pb2.Status] = []
        self.delay_s = 0.0
        self._health = health.HealthServicer()
        self.say(serving=True)

    def say(self, *, serving: bool) -> None:
        states = health_pb2.HealthCheckResponse
        self._health.set("", states.SERVING if serving else states.NOT_SERVING)

    def TopK(self, request: pb.TopKRequest, context: Context) -> pb.TopKResponse:
        self.calls.append(dict(context.invocation_metadata()))
        time.sleep(self.delay_s)
        if self.failures:
            context.abort_with_status(rpc_status.to_status(self.failures.pop(0)))
        return pb.TopKResponse(version=self.name)

    def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:
        return pb.ScoreResponse(version=self.name)

    def BatchTopK(self, request: pb.BatchTopKRequest, context: Context) -> pb.BatchTopKResponse:
        failed = pb.BatchTopKEntry(error=failure("NOT_FOUND", "USER_NOT_FOUND", field="user_id"))
        found = pb.BatchTopKEntry(response=pb.TopKResponse(version=self.name))
        return pb.BatchTopKResponse(
            entries=[failed if each.user_id == "nobody" else found for each in request.requests]
        )


def failure(
    code: str, reason: str = "", *, field: str = "", retry_s: int | None = None
) -> status_pb2.Status:
    """Return a status with google.rpc details."""
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=reason, domain="gnnrec")]
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if retry_s is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay={"seconds": retry_s}))
    packed = [any_pb2.Any() for _ in details]
    for empty, detail in zip(packed, details, strict=True):
        empty.Pack(detail)
    return status_pb2.Status(code=code_pb2.Code.Value(code), message="as told", details=packed)


@contextmanager
def told(
    name: str = "a", *, address: str = "127.0.0.1:0", credentials: Any = None
) -> Iterator[tuple[Told, str]]:
    """Serve until the block ends, and yield the servicer and its address."""
    servicer = Told(name)
    with ThreadPoolExecutor(32) as threads:
        server = grpc.server(threads)
        rpc.add_RecommenderServiceServicer_to_server(servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(servicer._health, server)
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
        server.start()
        try:
            yield servicer, f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


@dataclass(frozen=True)
class Pair:
    """PEM files of a certificate and its key."""

    certificate: Path
    key: Path


def self_signed(folder: Path, name: str) -> Pair:
    """Make a certificate for a name, which is its own root."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
            "-keyout", str(pair.key), "-out", str(pair.certificate),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return pair
