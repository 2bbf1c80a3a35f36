import hashlib
import logging
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from gnnrec_protos.v1 import model_pb2
from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import ModelStore
from gnnrec_server.errors import CannotStart
from gnnrec_server.rpc import tokens
from tests import made
from tests.server.running import Running, running, scrape
from tests.server.waiting import until

REQUEST = pb.TopKRequest(user_id="u0", k=1)


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    made.publish(tmp_path, version="v1")
    ModelStore(tmp_path, "toy").aliases.promote("v1", alias="production")
    return tmp_path


def refused(call: Any, request: Any, *authorization: str) -> tuple[str, str]:
    """Return the code and the reason of a call with these headers."""
    metadata = tuple(("authorization", value) for value in authorization)
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=5, metadata=metadata)
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    return caught.value.code().name, info.reason


def version(server: Running, token: str) -> str:
    metadata = (("authorization", f"Bearer {token}"),)
    return str(server.recommender.TopK(REQUEST, metadata=metadata, timeout=5).version)


def test_only_callers_with_a_token_are_answered(registry: Path, tmp_path: Path) -> None:
    token, line = tokens.make("backend")
    file = tmp_path / "tokens"
    file.write_text(f"# who may call\n\n{'0' * 64} nobody\n{line}\n")
    with running(registry, tokens_file=file) as server:
        top_k = server.recommender.TopK
        assert version(server, token) == "v1"
        assert refused(top_k, REQUEST) == ("UNAUTHENTICATED", "TOKEN_MISSING")
        invalid = ("UNAUTHENTICATED", "TOKEN_INVALID")
        assert refused(top_k, REQUEST, "Bearer wrong") == invalid
        assert refused(top_k, REQUEST, "Bearer ") == invalid
        assert refused(top_k, REQUEST, f"Basic {token}") == invalid
        assert refused(top_k, REQUEST, f"Bearer {line.split()[0]}") == invalid, "the digest itself"
        assert refused(server.model.GetModel, model_pb2.GetModelRequest())[1] == "TOKEN_MISSING"
        health = health_pb2_grpc.HealthStub(server.channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == 1
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == 1
        watch.cancel()
        got = scrape(server)
        assert got["gnnrec_rejected_requests_total", (("reason", "unauthenticated"),)] == 6


def test_reflection_takes_a_token_too(registry: Path, tmp_path: Path) -> None:
    token, line = tokens.make()
    (tmp_path / "tokens").write_text(line)
    with running(registry, tokens_file=tmp_path / "tokens") as server:
        reflect = reflection_pb2_grpc.ServerReflectionStub(server.channel).ServerReflectionInfo
        asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
        with pytest.raises(grpc.RpcError) as caught:
            next(reflect(iter(asked), timeout=5))
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        metadata = (("authorization", f"bearer {token}"),)
        (answer,) = reflect(iter(asked), timeout=5, metadata=metadata)
        assert len(answer.list_services_response.service) == 4


def test_a_changed_file_is_read_again_and_a_broken_one_is_not(
    registry: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (old, old_line), (new, new_line) = tokens.make(), tokens.make()
    file = tmp_path / "tokens"
    file.write_text(old_line)
    with running(registry, tokens_file=file) as server:
        for broken in ("no digest", "# none"):
            caplog.clear()
            file.write_text(broken)
            until(lambda: "the new tokens cannot be used, the old stay" in caplog.text)
            assert version(server, old) == "v1"
        file.write_text(new_line)
        until(lambda: "read the new tokens" in caplog.text)
        assert version(server, new) == "v1"
        assert refused(server.recommender.TopK, REQUEST, f"Bearer {old}")[1] == "TOKEN_INVALID"


def test_files_of_no_use_are_named_at_the_start(registry: Path, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    for content, problem in [
        (None, f"--tokens-file {file} cannot be read: No such file"),
        (b"\xff", "is not UTF-8"),
        (b"# nobody\n", "holds no token; gnnrec token makes one"),
        (b"# one\nsecret backend\n", "line 2: is not a SHA-256 digest in hex and a name"),
    ]:
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(CannotStart, match=problem), running(registry, tokens_file=file):
            pass


def test_tokens_in_the_clear_are_warned_of_unless_they_stay_on_the_machine(
    registry: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tokens").write_text(tokens.make()[1])
    with running(registry, tokens_file=tmp_path / "tokens"):
        assert "in the clear" not in caplog.text
    with running(registry, tokens_file=tmp_path / "tokens", address="0.0.0.0:0"):
        assert caplog.text.count("in the clear") == 1


def test_a_made_token_is_long_fresh_and_not_in_its_line() -> None:
    (token, line), (other, _) = tokens.make("a backend"), tokens.make()
    assert len(token) >= 40
    assert token != other
    assert line == f"{hashlib.sha256(token.encode()).hexdigest()} a backend"


def test_a_stream_that_has_ended_is_forgotten(registry: Path) -> None:
    """Else every watcher that ever was would be held, and ended once more at the drain."""
    with running(registry) as server:
        stub = health_pb2_grpc.HealthStub(server.channel)
        for _ in range(5):
            watch = stub.Watch(health_pb2.HealthCheckRequest())
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            watch.cancel()
        until(lambda: not server.server.gateway._streams._open)
