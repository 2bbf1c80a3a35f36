"""The HTTP endpoint of the metrics, with clients that are slow, idle or hostile."""

import gzip
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.request import Request, urlopen

import pytest
from prometheus_client import CollectorRegistry, Gauge, make_wsgi_app

from gnnrec_server.process.address import Tcp
from gnnrec_server.telemetry import endpoint
from gnnrec_server.telemetry.collectors import expose
from tests.server.scraping import key, parse, scraped_text
from tests.server.waiting import until

_HEAD = b"GET /metrics HTTP/1.1\r\nHost: here\r\n"


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("things", "Things.", registry=registry).set(3)
    return registry


@contextmanager
def answering(registry: CollectorRegistry, **limits: float) -> Iterator[int]:
    """Answer until the block ends, and yield the port."""
    listener = Tcp("127.0.0.1", 0).listener()
    port: int = listener.getsockname()[1]
    stop = endpoint.serve(make_wsgi_app(registry), listener, **limits)
    try:
        yield port
    finally:
        stop()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def is_closed(connection: socket.socket) -> bool:
    """Return whether the other side has hung up."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def one_more(connection: socket.socket, size: int = 1) -> bool:
    """Send `size` bytes, and return whether the server still reads them."""
    try:
        connection.sendall(size * b"x")
    except ConnectionError:
        return False
    return True


def most_memory() -> int:
    """Return the most memory that this process has used so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_idle_connections_by_the_hundred_cost_no_threads_and_keep_no_scrape_waiting(
    registry: CollectorRegistry,
) -> None:
    port, stop = expose(registry, Tcp("127.0.0.1", 0))
    with ExitStack() as stack:
        stack.callback(stop)
        assert parse(scraped_text(port)) == {key("things"): 3}
        threads, memory = threading.active_count(), most_memory()
        idle = []
        for count in range(400):
            idle.append(stack.enter_context(connected(port)))
            if count % 3 == 0:  # the last one too: it dawdles
                idle[-1].sendall(_HEAD)
            if count % 50 == 49:
                assert parse(scraped_text(port)) == {key("things"): 3}
        assert threading.active_count() < threads + 10
        assert most_memory() < memory + 20 * 2**20
        until(lambda: sum(map(is_closed, idle)) >= 400 - 128)
        assert not is_closed(idle[-1]), "who came last may still ask"
        idle[-1].setblocking(True)
        idle[-1].sendall(b"\r\n")
        assert idle[-1].recv(100).startswith(b"HTTP/1.0 200 OK\r\n")


def test_a_head_that_comes_byte_by_byte_is_cut_off(registry: CollectorRegistry) -> None:
    with answering(registry, ask_s=0.5) as port, connected(port) as slow:
        until(lambda: not one_more(slow))  # each byte comes well within the limit
        assert parse(scraped_text(port)) == {key("things"): 3}


def test_a_head_without_end_is_refused(registry: CollectorRegistry) -> None:
    with answering(registry) as port, connected(port) as endless:
        endless.sendall(_HEAD + b"X-Long: " + 16 * 1024 * b"x")
        assert endless.recv(100).startswith(b"HTTP/1.0 431 ")
    with answering(registry) as port, connected(port) as endless:
        until(lambda: not one_more(endless, 100_000))


def test_who_does_not_take_the_answer_is_cut_off() -> None:
    large = CollectorRegistry()
    gauge = Gauge("large", "Large.", ["text"], registry=large)
    for number in range(40):
        gauge.labels(f"{number}{200_000 * 'x'}").set(1)
    with answering(large, answer_s=0.5) as port, connected(port) as slow:
        slow.sendall(_HEAD + b"\r\n")  # and reads nothing
        closed = select.poll()
        closed.register(slow, 0)
        until(lambda: bool(closed.poll(0)))


def test_a_stop_waits_for_nobody(registry: CollectorRegistry) -> None:
    with ExitStack() as stack:
        port, stop = expose(registry, Tcp("127.0.0.1", 0))
        mute = [stack.enter_context(connected(port)) for _ in range(20)]
        mute[0].sendall(_HEAD)
        scraped_text(port)  # all have been heard by now
        begun = time.monotonic()
        stop()
        assert time.monotonic() < begun + 3
        until(lambda: all(map(is_closed, mute)))
        with pytest.raises(ConnectionRefusedError):
            connected(port)
        listener = Tcp("127.0.0.1", port).listener()  # the port is free again
        listener.close()


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, "text/plain; version=0.0.4"),
        ({"Accept": "application/openmetrics-text; version=1.0.0"}, "application/openmetrics-text"),
        ({"Accept-Encoding": "gzip"}, "text/plain; version=0.0.4"),
    ],
)
def test_the_answer_is_what_the_scraper_asks_for(
    registry: CollectorRegistry, headers: dict[str, str], kind: str
) -> None:
    with answering(registry) as port:
        request = Request(f"http://127.0.0.1:{port}/metrics", headers=headers)
        with urlopen(request, timeout=10) as response:
            assert response.headers["Content-Type"].startswith(kind)
            body = response.read()
        if "Accept-Encoding" in headers:
            body = gzip.decompress(body)
        assert b"\nthings 3.0\n" in body
        assert body.endswith(b"# EOF\n") == ("Accept" in headers)


def test_a_head_may_come_in_pieces_and_its_sender_may_close_first(
    registry: CollectorRegistry,
) -> None:
    with answering(registry) as port:
        with connected(port) as client:
            for part in (b"GET /met", b"rics HTTP/1.1\r\nHost: h\r", b"\n\r", b"\n"):
                client.sendall(part)
                scraped_text(port)  # so that the parts arrive apart
            client.shutdown(socket.SHUT_WR)
            assert b"things 3.0" in client.makefile("rb").read()
        with connected(port) as client:
            client.sendall(b"what is this HTTP/1.1\r\n\r\n")
            assert b" 400 " in client.makefile("rb").readline()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_nothing_but_reading_is_allowed(registry: CollectorRegistry, method: str) -> None:
    with answering(registry) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request(method, "/metrics", body=None if method == "HEAD" else b"x")
        response: Any = connection.getresponse()
        assert response.status == 405
        connection.close()


def test_an_app_that_fails_is_a_500_and_the_next_scrape_is_answered(
    capfd: pytest.CaptureFixture[str],
) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("things", "Things.", registry=registry)
    fail = [True]  # once

    def value() -> float:
        if fail:
            fail.clear()
            raise OSError("no disk")
        return 4

    gauge.set_function(value)
    with answering(registry) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/metrics")
        assert connection.getresponse().status == 500
        connection.close()
        assert parse(scraped_text(port)) == {key("things"): 4}
    assert "no disk" in capfd.readouterr().err
