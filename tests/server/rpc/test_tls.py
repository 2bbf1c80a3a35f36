from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_protos.v1 import recommender_pb2_grpc
from gnnrec_server.errors import CannotStart
from gnnrec_server.rpc.tls import TlsFiles
from tests.server.certificates import Authority, Pem
from tests.server.running import Running, running
from tests.server.waiting import until

OURS, FOREIGN = Authority("ours"), Authority("foreign")


pytestmark = pytest.mark.grpcio_keeps("TLS")


def ask(server: Running, trusted: bytes = OURS.pem, client: Pem | None = None) -> str:
    """Ask over a new connection; return the version that answered, or the status code."""
    pair = (client.key, client.cert) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(trusted, *pair)
    # else a channel of the same target and settings may share a connection
    with grpc.secure_channel(
        server.address, credentials, [("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        stub = recommender_pb2_grpc.RecommenderServiceStub(channel)
        try:
            return str(stub.TopK(pb.TopKRequest(user_id="u0", k=1), timeout=5).version)
        except grpc.RpcError as error:
            return str(error.code().name)


@contextmanager
def serving(registry: Path, folder: Path, pem: Pem, **more: Path) -> Iterator[Running]:
    cert, key = pem.write(folder, "server")
    with running(registry, tls=TlsFiles(cert, key, **more)) as server:
        yield server


def test_tls_lets_in_who_trusts_the_authority(registry: Path, tmp_path: Path) -> None:
    with serving(registry, tmp_path, OURS.issue()) as server:
        assert ask(server) == "v1"
        assert ask(server, trusted=FOREIGN.pem) == "UNAVAILABLE"
        with pytest.raises(grpc.RpcError):
            server.recommender.TopK(pb.TopKRequest(user_id="u0", k=1), timeout=5)  # in the clear


def test_mutual_tls_turns_away_whom_the_authority_has_not_signed(
    registry: Path, tmp_path: Path
) -> None:
    authority = tmp_path / "clients.pem"
    authority.write_bytes(OURS.pem)
    with serving(registry, tmp_path, OURS.issue(), client_ca=authority) as server:
        assert ask(server, client=OURS.issue("backend")) == "v1"
        assert ask(server) == "UNAVAILABLE", "no certificate"
        assert ask(server, client=FOREIGN.issue("backend")) == "UNAVAILABLE", "foreign"
        assert ask(server, client=OURS.issue("backend", days=-1)) == "UNAVAILABLE", "expired"
        assert ask(server, client=OURS.issue("backend")) == "v1", "the server is unharmed"


def test_new_certificates_are_taken_up_and_bad_ones_are_not(
    registry: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(registry, tmp_path, OURS.issue()) as server:
        cert = tmp_path / "server.pem"
        cert.write_bytes(b"no certificate")
        until(lambda: "the new certificates cannot be used, the old stay" in caplog.text)
        assert ask(server) == "v1"
        FOREIGN.issue().write(tmp_path, "server")
        until(lambda: ask(server, trusted=FOREIGN.pem) == "v1")
        assert ask(server) == "UNAVAILABLE", "the old certificate is gone"


def test_files_of_no_use_are_named_at_the_start(registry: Path, tmp_path: Path) -> None:
    cert, key = OURS.issue().write(tmp_path, "one")
    _, other = OURS.issue().write(tmp_path, "other")
    nothing, text = tmp_path / "nothing", tmp_path / "text"
    text.write_text("hello")
    for files, problem in [
        (TlsFiles(nothing, key), f"--tls-cert {nothing} cannot be read: No such file"),
        (TlsFiles(cert, nothing), f"--tls-key {nothing} cannot be read: No such file"),
        (TlsFiles(cert, other), "are not a PEM certificate and its unencrypted key"),
        (TlsFiles(text, key), "are not a PEM certificate and its unencrypted key"),
        (TlsFiles(cert, key, text), f"--tls-client-ca {text} holds no PEM certificates"),
    ]:
        with pytest.raises(CannotStart, match=problem), running(registry, tls=files):
            pass
    with pytest.raises(CannotStart, match="both --tls-cert and --tls-key"):
        TlsFiles.of(cert, None, None)
    assert TlsFiles.of(None, None, None) is None
