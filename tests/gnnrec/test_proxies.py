"""Clients in an environment with proxies: unreachable, refusing and working ones."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from gnnrec import AsyncClient, Client, Error
from gnnrec.client.addresses import is_loopback
from tests.end_to_end.command import ok, refusal
from tests.gnnrec.servers import failure, told

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY")
NAME = "recommender.invalid:50051"
"""A host name that only the proxy can resolve."""


class ConnectProxy:
    """A proxy that connects every CONNECT request to one server, or sends a given response."""

    def __init__(self, leads_to: str = "", says: bytes = b"") -> None:
        self.asked: list[str] = []
        self._leads_to = leads_to
        self._says = says
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open = [self._listener]

    def run(self) -> None:
        """Answer until the listener closes."""
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                self._open.append(caller)
                threading.Thread(target=self._take, args=(caller,), daemon=True).start()

    def close(self) -> None:
        """Close all connections."""
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _take(self, caller: socket.socket) -> None:
        with suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += caller.recv(4096)
            self.asked.append(head.split()[1].decode())
            if not self._leads_to:
                caller.sendall(self._says)
                return
            host, _, port = self._leads_to.rpartition(":")
            server = socket.create_connection((host, int(port)))
            self._open.append(server)
            caller.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            threading.Thread(target=_pass, args=(caller, server), daemon=True).start()
            _pass(server, caller)


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def proxy(leads_to: str = "", says: bytes = b"") -> Iterator[ConnectProxy]:
    """Run a proxy until the block ends."""
    made = ConnectProxy(leads_to, says)
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join()


@pytest.fixture
def dead() -> str:
    """The URL of a proxy that does not exist."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


Set = Callable[..., None]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Set:
    """Set variables until the test ends."""

    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


def problem(address: str = NAME, timeout_s: float = 5.0) -> Error:
    """Return how a call to a server fails."""
    with Client(address, timeout_s=timeout_s) as client, pytest.raises(Error) as caught:
        client.top_k("u")
    return caught.value


def test_no_proxy_comes_before_a_server_on_this_machine(environment: Set, dead: str) -> None:
    environment(**dict.fromkeys(VARIABLES, dead))
    with told() as (_, address):
        port = address.rpartition(":")[2]
        for host in ("127.0.0.1", "localhost", "LOCALHOST", "0.0.0.0"):
            with Client(f"{host}:{port}", timeout_s=10) as client:
                assert client.health()
                assert client.top_k("u").version == "a"
        for scheme in ("dns:///", "dns:", "ipv4:"):
            with Client(f"{scheme}127.0.0.1:{port}", timeout_s=10) as client:
                assert client.top_k("u").version == "a"
        with Client([address, address], timeout_s=10) as client:
            assert client.top_k("u").version == "a"

        async def ask() -> str:
            async with AsyncClient(address, timeout_s=10) as client:
                return (await client.top_k("u")).version

        assert asyncio.run(ask()) == "a"
        # the health check of the Docker image, with the image's address
        environment(GNNREC_ADDRESS=f"0.0.0.0:{port}")
        assert ok("health") == "serving\n"


def test_a_server_elsewhere_is_reached_through_the_proxy(environment: Set) -> None:
    with told() as (server, address), proxy(address) as between:
        environment(http_proxy=f"http://user:secret@127.0.0.1:{between.port}")
        with Client(NAME, timeout_s=10) as client:
            assert client.top_k("u").version == "a"
        assert between.asked == [NAME]
        assert len(server.calls) == 1


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_a_failure_names_the_proxy_and_keeps_its_password(
    environment: Set, dead: str, variable: str
) -> None:
    environment(**{variable: dead.replace("//", "//user:secret@")})
    said = str(problem())
    assert f"at {NAME} through the proxy {dead} ({variable}) (UNAVAILABLE: " in said
    assert "no_proxy names hosts to reach without a proxy" in said
    assert "secret" not in said
    line = refusal("topk", "u", "--address", NAME)
    assert f"through the proxy {dead} ({variable})" in line
    assert "secret" not in line


def test_a_proxy_that_refuses_or_says_nothing_is_named(environment: Set) -> None:
    with proxy(says=b"HTTP/1.1 403 Forbidden\r\n\r\n") as between:
        environment(http_proxy=f"http://127.0.0.1:{between.port}")
        refused = problem()
        assert "response code 403" in str(refused)
        assert f"through the proxy http://127.0.0.1:{between.port} (http_proxy)" in str(refused)
    with proxy(says=b"") as between:
        environment(http_proxy=f"http://127.0.0.1:{between.port}")
        silent = problem(timeout_s=0.3)
        assert silent.code == "DEADLINE_EXCEEDED"
        assert f"through the proxy http://127.0.0.1:{between.port} (http_proxy)" in str(silent)


def test_what_the_server_says_itself_names_no_proxy(environment: Set) -> None:
    with told() as (server, address), proxy(address) as between:
        environment(http_proxy=f"http://127.0.0.1:{between.port}")
        server.failures = [failure("NOT_FOUND", "USER_NOT_FOUND")]
        assert str(problem()) == "as told"


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({"no_proxy": "recommender.invalid"}, NAME),
        ({"no_proxy": "example, .INVALID "}, NAME),
        ({"no_grpc_proxy": "invalid", "no_proxy": ""}, NAME),
        ({"grpc_proxy": ""}, NAME),
        ({"http_proxy": "socks5://127.0.0.1:9"}, NAME),
        ({"http_proxy": "127.0.0.1:9"}, NAME),
        ({"http_proxy": "http://[::1"}, NAME),
        ({}, "127.0.0.1:9"),
    ],
)
def test_no_proxy_is_named_where_grpc_asks_none(
    environment: Set, dead: str, variables: dict[str, str], address: str
) -> None:
    environment(**{"http_proxy": dead} | variables)
    assert "proxy" not in str(problem(address))


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({"no_proxy": "recommender.invalid:50051"}, True),
        ({"no_proxy": "*"}, True),
        ({"no_proxy": "invalid", "no_grpc_proxy": ""}, True),
        ({"no_proxy": "invalid", "no_grpc_proxy": "other"}, True),
        ({"no_proxy": "er.invalid"}, True),
        ({"no_proxy": ".recommender.invalid"}, False),
        ({"no_proxy": "..invalid"}, True),
        ({"no_proxy": "Invalid"}, False),
        ({"all_proxy": "http://127.0.0.1:9"}, True),
    ],
)
def test_what_is_said_of_proxies_is_what_grpc_does(
    environment: Set, variables: dict[str, str], asked: bool
) -> None:
    with proxy(says=b"HTTP/1.1 403 Forbidden\r\n\r\n") as between:
        environment(http_proxy=f"http://127.0.0.1:{between.port}", **variables)
        said = str(problem())
        assert bool(between.asked) == asked
        assert ("through the proxy" in said) == asked


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("127.0.0.1:1", True),
        ("127.255.0.1:1", True),
        ("[::1]:1", True),
        ("[::ffff:127.0.0.1]:1", True),
        ("0.0.0.0:1", True),
        ("[::]:1", True),
        ("localhost:1", True),
        ("LocalHost.:1", True),
        ("unix:/tmp/a", True),
        ("unix:a", True),
        ("dns:///localhost:1", True),
        ("ipv6:[::1]:1", True),
        ("ipv6:%5B::1%5D:1", True),
        ("ipv4:127.0.0.1:1,127.0.0.2:1", True),
        ("ipv4:127.0.0.1:1,10.0.0.1:1", False),
        ("localhost.example:1", False),
        ("notlocalhost:1", False),
        ("127.0.0.1.example:1", False),
        ("10.0.0.1:1", False),
        ("[fe80::1]:1", False),
        ("recommender:1", False),
        ("dns:///recommender:1", False),
    ],
)
def test_this_machine_is_known_by_name_alone(address: str, here: bool) -> None:
    assert is_loopback(address) == here
