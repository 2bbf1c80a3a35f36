"""The steps of a call through the gateway of a server, each by itself."""

import asyncio
import time
from collections.abc import Callable
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
from gnnrec_server.rpc.calls import Call
from gnnrec_server.rpc.gateway import UnaryMethod
from gnnrec_server.rpc.statuses import Ending
from gnnrec_server.settings import Settings

METHOD = "/gnnrec.v1.RecommenderService/TopK"
REQUEST = pb.TopKRequest(user_id="u0", k=3).SerializeToString()
CONTENT = pb.TopKResponse(version="v1", item_ids=["i1"]).SerializeToString()


class Given(Call):
    """A call that no front has handed over, whose answer is read when the test says so."""

    def __init__(self, raw: bytes, *metadata: tuple[str, str]) -> None:
        super().__init__(raw, dict(metadata), "ipv4:127.0.0.1:1")
        self.read: list[Callable[[], None]] = []

    def when_read(self, then: Callable[[], None]) -> None:
        self.read.append(then)


async def reply(request: pb.TopKRequest, context: None) -> Reply:
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


def call(topk: UnaryMethod, raw: bytes = REQUEST, *metadata: tuple[str, str]) -> Given:
    made = Given(raw, *metadata)
    topk._begin(made)
    return made


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
    assert known.request_id == "abc"
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
    assert (failed.raw, failed.request, failed.reply) == (b"", None, None)
    (handled,) = counted(topk, "grpc_server_handled_total{")
    assert 'grpc_code="NOT_FOUND"' in handled
    assert handled.endswith(" 1.0")


def test_an_answer_is_in_the_server_until_it_is_read(tmp_path: Path) -> None:
    topk = method(tmp_path, max_concurrent=1)
    first = Given(REQUEST)
    assert asyncio.run(topk.answer(first)) == CONTENT
    refused = asyncio.run(topk.answer(Given(REQUEST[:-1] + b"\x04")))
    assert isinstance(refused, Ending)
    assert refused.code == "RESOURCE_EXHAUSTED"
    (then,) = first.read
    then()
    assert isinstance(asyncio.run(topk.answer(Given(REQUEST[:-1] + b"\x05"))), bytes)


def test_a_call_whose_caller_gives_up_is_not_looked_at(tmp_path: Path) -> None:
    topk = method(tmp_path)
    late = Given(REQUEST)
    late.deadline = time.monotonic() - 1
    ending = asyncio.run(topk.answer(late))
    assert isinstance(ending, Ending)
    assert (ending.code, late.code) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
