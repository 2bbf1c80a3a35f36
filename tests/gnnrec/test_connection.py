import asyncio
import copy
import math
import pickle
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from gnnrec import AsyncClient, Client, Error, Query, Tls, TopK
from gnnrec.client.connection import _options
from tests.gnnrec.servers import Pair, failure, self_signed, told


@pytest.mark.parametrize(
    ("code", "calls"),
    [("UNAVAILABLE", 3), ("NOT_FOUND", 1), ("RESOURCE_EXHAUSTED", 1), ("INTERNAL", 1)],
)
def test_unavailable_alone_is_tried_again(code: str, calls: int) -> None:
    with told() as (server, address), Client(address, timeout_s=10) as client:
        server.failures = [failure(code, "TOLD")] * 2
        if calls == 1:
            with pytest.raises(Error) as caught:
                client.top_k("u")
            assert (caught.value.code, caught.value.reason) == (code, "TOLD")
        else:
            assert client.top_k("u").version == "a"
        assert len(server.calls) == calls


def test_a_call_is_tried_four_times_at_most() -> None:
    async def ask(address: str) -> str:
        async with AsyncClient(address, timeout_s=10) as client:
            with pytest.raises(Error, match="as told") as caught:
                await client.top_k("u")
            return caught.value.code

    with told() as (server, address):
        server.failures = [failure("UNAVAILABLE")] * 9
        assert asyncio.run(ask(address)) == "UNAVAILABLE"
        assert len(server.calls) == 4


def test_retries_stop_while_most_calls_fail() -> None:
    """Otherwise retries would multiply the load of overloaded servers by four."""

    async def ask(address: str) -> tuple[int, int]:
        async with AsyncClient(address, timeout_s=10) as client:
            sent = []
            for count in (60, 10):
                before = len(server.calls)
                calls = [client.top_k("u") for _ in range(count)]
                ends = await asyncio.gather(*calls, return_exceptions=True)
                assert all(isinstance(end, Error) for end in ends)
                sent.append(len(server.calls) - before)
        return sent[0], sent[1]

    with told() as (server, address):
        server.failures = [failure("UNAVAILABLE")] * 1000
        first, then = asyncio.run(ask(address))
    assert 60 < first < 4 * 60
    assert then == 10


def test_a_client_can_wait_for_a_server_that_comes_late() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    came = threading.Event()

    def come() -> None:
        time.sleep(0.5)
        with told("late", address=address):
            came.wait(30)

    with Client(address, timeout_s=20) as client:
        with pytest.raises(Error, match=f"no answer from a server at {address}.*refused"):
            client.top_k("u")
        server = threading.Thread(target=come)
        server.start()
        try:
            patient = client.with_options(wait_for_ready=True)
            assert patient.top_k("u").version == "late"
        finally:
            came.set()
            server.join()


def test_a_slow_server_is_given_up_at_the_deadline() -> None:
    with told() as (server, address), Client(address, timeout_s=30) as client:
        client.top_k("u")
        server.delay_s = 1.0
        began = time.monotonic()
        with pytest.raises(Error, match=r"within 0\.2 s") as caught:
            client.with_options(timeout_s=0.2).top_k("u")
        assert caught.value.code == "DEADLINE_EXCEEDED"
        assert time.monotonic() - began < 0.9
        assert len(server.calls) == 2


def test_several_servers_take_turns_and_an_unhealthy_one_is_passed_over() -> None:
    with told("a") as (a, first), told("b") as (b, second):
        with Client([first, second], timeout_s=10) as client:
            _until(client, {"a", "b"})
            turns = Counter(client.top_k("u").version for _ in range(20))
            assert turns == {"a": 10, "b": 10}
            a.say(serving=False)
            _until(client, {"b"})
            before = len(a.calls)
            assert {client.top_k("u").version for _ in range(20)} == {"b"}
            assert len(a.calls) == before
            a.say(serving=True)
            _until(client, {"a", "b"})
            b.say(serving=False)
            a.say(serving=False)
            _until_refused(client)
        with Client(first, timeout_s=10) as client:
            assert client.top_k("u").version == "a", "one address is asked whatever it says"


def _until(client: Client, versions: set[str]) -> None:
    for _ in range(200):
        if {client.top_k("u").version for _ in range(8)} == versions:
            return
        time.sleep(0.02)
    raise AssertionError(f"not answered by {versions} alone")


def _until_refused(client: Client) -> None:
    for _ in range(200):
        try:
            client.top_k("u")
        except Error:
            break
        time.sleep(0.02)
    with pytest.raises(Error, match="backend unhealthy"):
        client.top_k("u")


def test_an_error_tells_the_field_and_when_to_come_back() -> None:
    with told() as (server, address), Client(address, timeout_s=10) as client:
        server.failures = [
            failure("RESOURCE_EXHAUSTED", "OVERLOADED", retry_s=2),
            failure("INVALID_ARGUMENT", "INVALID_ARGUMENT", field="k"),
        ]
        with pytest.raises(Error, match="as told") as caught:
            client.top_k("u")
        assert (caught.value.reason, caught.value.retry_delay_s) == ("OVERLOADED", 2.0)
        assert caught.value.field == ""
        with pytest.raises(Error) as caught:
            client.top_k("u")
        assert (caught.value.field, caught.value.retry_delay_s) == ("k", None)


def test_entries_of_a_batch_fail_on_their_own() -> None:
    with told() as (_, address), Client(address, timeout_s=10) as client:
        there, missing = client.batch_top_k([Query("u"), Query("nobody")])
    assert isinstance(there, TopK)
    assert there.version == "a"
    assert isinstance(missing, Error)
    assert (missing.code, missing.reason) == ("NOT_FOUND", "USER_NOT_FOUND")
    assert missing.field == "user_id"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair]:
    folder = tmp_path_factory.mktemp("certificates")
    return self_signed(folder, "localhost"), self_signed(folder, "other")


def test_tls_both_ways_with_a_token(pairs: tuple[Pair, Pair]) -> None:
    mine, other = pairs
    pem = mine.certificate.read_bytes()
    needs_client = grpc.ssl_server_credentials(
        [(mine.key.read_bytes(), pem)], root_certificates=pem, require_client_auth=True
    )
    with told(credentials=needs_client) as (server, address):
        name = address.replace("127.0.0.1", "localhost")
        both = Tls(mine.certificate, mine.certificate, mine.key)
        with Client(name, tls=both, token="secret", request_id="r-1", timeout_s=10) as client:
            assert client.top_k("u").version == "a"
            client.with_options(request_id="r-2").top_k("u")
        sent = [(call["authorization"], call["x-request-id"]) for call in server.calls]
        assert sent == [("Bearer secret", "r-1"), ("Bearer secret", "r-2")]

        by_ip = Tls(mine.certificate, mine.certificate, mine.key, server_name="localhost")
        with Client([address, address], tls=by_ip, timeout_s=10) as client:
            assert client.top_k("u").version == "a"
        for wrong in (
            Tls(mine.certificate),
            Tls(other.certificate, mine.certificate, mine.key),
            Tls(mine.certificate, other.certificate, other.key),
        ):
            with Client(name, tls=wrong) as client, pytest.raises(Error) as caught:
                client.top_k("u")
            assert caught.value.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
        assert len(server.calls) == 3


def test_a_token_goes_in_the_clear_to_this_machine_alone() -> None:
    with told() as (server, address):
        with Client(address, token="secret", timeout_s=10) as client:
            client.top_k("u")
        assert server.calls[0]["authorization"] == "Bearer secret"
    for address in ("10.0.0.1:50051", "recommender:50051", "dns:///recommender:50051"):
        with pytest.raises(ValueError, match="could be read on its way; set tls"):
            Client(address, token="secret")
        Client(address, token="secret", allow_insecure_token=True).close()
    for address in ("localhost:50051", "[::1]:50051", "127.1.2.3:50051", "unix:/tmp/socket"):
        Client(address, token="secret").close()
    with pytest.raises(ValueError, match="token must be printable") as caught:
        Client(token="secret\n")
    assert "secret" not in str(caught.value)


def test_options_that_do_not_fit_are_named(tmp_path: Path, pairs: tuple[Pair, Pair]) -> None:
    mine, other = pairs
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    cases: list[tuple[str, dict[str, Any]]] = [
        ("all of IPv4 or all of IPv6, not a:1, b:2", {"address": ["a:1", "b:2"]}),
        ("all of IPv4", {"address": ["127.0.0.1:1", "[::1]:1"]}),
        ("at least one address", {"address": []}),
        ("at least one address", {"address": ""}),
        ("timeout_s is 0", {"timeout_s": 0}),
        ("request_id must be printable", {"request_id": "ä"}),
        ("go together", {"tls": Tls(certificate=mine.certificate)}),
        ("holds no PEM certificates", {"tls": Tls(junk)}),
        ("not a PEM certificate", {"tls": Tls(None, mine.certificate, other.key)}),
        ("needs tls.server_name", {"address": ["127.0.0.1:1", "127.0.0.1:2"], "tls": Tls()}),
    ]
    for problem, options in cases:
        with pytest.raises(ValueError, match=problem):
            Client(**options)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Client(tls=Tls(tmp_path / "nowhere.pem"))


def test_a_server_that_comes_back_is_found() -> None:
    """Waits between attempts grow to 0.75 s at most, however long the server was away."""
    with told("before") as (_, address), Client(address, timeout_s=10) as client:
        client.top_k("u")
    with Client(address, timeout_s=10) as client:
        gone_until = time.monotonic() + 2
        while time.monotonic() < gone_until:
            with pytest.raises(Error):
                client.top_k("u")
            time.sleep(0.05)
        with told("after", address=address):
            assert client.with_options(wait_for_ready=True).top_k("u").version == "after"
    assert dict(_options(False, ""))["grpc.max_reconnect_backoff_ms"] * 1.2 < 1000


def test_no_time_limit_is_none_at_all() -> None:
    with told() as (server, address), Client(address, timeout_s=math.inf) as client:
        server.delay_s = 0.1
        assert client.top_k("u").version == "a"
        assert client.with_options(timeout_s=1e300).top_k("u").version == "a"
        with pytest.raises(ValueError, match="timeout_s is nan"):
            client.with_options(timeout_s=math.nan)


def test_an_async_client_says_that_it_belongs_to_another_loop() -> None:
    """The client may be made outside of an event loop, such as when a module is imported."""
    with told() as (_, address):
        client = AsyncClient(address, timeout_s=10)

        async def ask() -> str:
            return (await client.with_options(request_id="r").top_k("u")).version

        async def ask_and_close() -> str:
            async with client:
                return await ask()

        with asyncio.Runner() as runner:
            assert runner.run(ask()) == "a"
            with pytest.raises(RuntimeError, match="belongs to the event loop of its first call"):
                asyncio.run(ask())
            assert runner.run(ask_and_close()) == "a"


def test_a_closed_client_stays_closed() -> None:
    client = Client("127.0.0.1:1")
    client.close()
    with pytest.raises(ValueError, match="closed channel"):
        client.top_k("u")


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_an_error_is_the_same_out_of_another_process(copied: Callable[[Error], Any]) -> None:
    error = Error("RESOURCE_EXHAUSTED", "OVERLOADED", "come back", field="k", retry_delay_s=2.5)
    got = copied(error)
    if isinstance(got, bytes):
        got = pickle.loads(got)
    assert type(got) is Error
    assert str(got) == "come back"
    assert vars(got) == vars(error)
