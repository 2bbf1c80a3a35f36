"""The steps of a call through the gateway of a server, each by itself."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import generate_latest

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_server.errors import AnswerTooLarge, InvalidQuery, Overloaded, Unauthenticated
from gnnrec_server.load.answer_cache import Reply
from gnnrec_server.main import Server
from gnnrec_server.rpc import tokens
from gnnrec_server.rpc.gateway import UnaryMethod, _Call
from gnnrec_server.settings import Settings

METHOD = "/gnnrec.v1.RecommenderService/TopK"
REQUEST = pb.TopKRequest(user_id="u0", k=3).SerializeToString()
CONTENT = pb.TopKResponse(version="v1", item_ids=["i1"]).SerializeToString()


class Context:
    """What gRPC would hand to a handler."""

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self._metadata = metadata
        self.trailing: Any = None

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def set_trailing_metadata(self, metadata: Any) -> None:
        self.trailing = dict(metadata)

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"


async def reply(request: pb.TopKRequest, context: Context) -> Reply:
    return Reply(CONTENT, "v1", "lightgcn", request.k)


def method(tmp_path: Path, **settings: Any) -> UnaryMethod:
    """Return a method of a server that is built and not started."""
    server = Server(Settings(registry=tmp_path, model="toy", **settings))
    handler = SimpleNamespace(
        unary_unary=reply,
        request_deserializer=pb.TopKRequest.FromString,
        response_serializer=None,
    )
    return UnaryMethod(server.gateway, handler, METHOD)


def call(topk: UnaryMethod, raw: bytes = REQUEST, *metadata: tuple[str, str]) -> _Call:
    return topk._begin(raw, Context(*metadata))


def counted(topk: UnaryMethod, name: str) -> list[str]:
    text = generate_latest(topk._gateway.metrics.registry).decode()
    return [line for line in text.splitlines() if line.startswith(name)]


def test_a_caller_is_known_by_its_token_and_the_call_has_its_request_id(tmp_path: Path) -> None:
    token, line = tokens.make("the shop")
    (tmp_path / "tokens").write_text(line)
    topk = method(tmp_path, tokens_file=tmp_path / "tokens")
    sent = ("authorization", f"Bearer {token}"), ("x-request-id", "abc")
    known = call(topk, REQUEST, *sent)
    topk._authenticate(known)
    assert known.caller == "the shop"
    assert known.context.trailing == {"x-request-id": "abc"}
    with pytest.raises(Unauthenticated):
        topk._authenticate(call(topk))


def test_who_is_admitted_is_inside_until_the_call_is_accounted_for(tmp_path: Path) -> None:
    topk = method(tmp_path, max_concurrent=1)
    first, second = call(topk), call(topk)
    topk._admit(first)
    with pytest.raises(Overloaded):
        topk._admit(second)
    first.code = "INTERNAL"
    topk._account(first)
    topk._admit(second)
    assert second.inside


def test_an_answer_is_ready_for_the_next_request_of_the_same_bytes(tmp_path: Path) -> None:
    topk = method(tmp_path)
    first = call(topk)
    assert topk._cached(first) is None
    assert asyncio.run(topk._answered(first)) == CONTENT
    again, other = call(topk), call(topk, pb.TopKRequest(user_id="u1", k=3).SerializeToString())
    assert topk._cached(again) == CONTENT
    assert again.size == len(CONTENT)
    assert topk._cached(other) is None


def test_bytes_that_are_no_message_and_answers_too_large_are_errors(tmp_path: Path) -> None:
    topk = method(tmp_path, max_message_bytes=len(CONTENT) - 1)
    with pytest.raises(InvalidQuery, match="is not a message of this RPC"):
        asyncio.run(topk._answered(call(topk, b"\xff")))
    with pytest.raises(AnswerTooLarge, match=f"has {len(CONTENT)} bytes"):
        asyncio.run(topk._answered(call(topk)))


def test_a_call_is_counted_once_by_its_code_and_lets_go_of_its_messages(tmp_path: Path) -> None:
    topk = method(tmp_path)
    failed = call(topk)
    assert topk._gateway.in_flight == 1
    failed.code = "NOT_FOUND"
    topk._account(failed)
    assert topk._gateway.in_flight == 0
    assert (failed.raw, failed.request, failed.context) == (b"", None, None)
    (handled,) = counted(topk, "grpc_server_handled_total{")
    assert 'grpc_code="NOT_FOUND"' in handled
    assert handled.endswith(" 1.0")
