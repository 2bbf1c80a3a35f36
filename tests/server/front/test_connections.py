"""gRPC's own options, by their effects or at least their names; and ending a connection."""

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from gnnrec.client import connection as client_side
from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_server.front import grpcio
from gnnrec_server.process import connections
from gnnrec_server.rpc.calls import Call
from gnnrec_server.rpc.gateway import UnaryMethod
from gnnrec_server.rpc.statuses import Ending
from tests.server.running import running
from tests.server.waiting import until

REQUEST = pb.TopKRequest(user_id="u0", k=1)


def options() -> set[str]:
    """Return every option that gRPC is given, by the server and by the client."""
    options = grpcio.options(
        max_message_bytes=1, max_pending=1, max_connection_age_s=1.0, shares_port=True
    )
    given = [name for name, _ in options]
    given += [name for name, _ in client_side._options(True, "a.name")]
    return set(given)


def test_every_option_is_one_that_grpc_knows() -> None:
    """It takes any name, and says nothing of those that mean nothing to it."""
    assert cygrpc.__file__ is not None
    library = Path(cygrpc.__file__).read_bytes()
    # a text ends with a zero; what stands before it need not
    unknown = {name for name in options() if name.encode() + b"\0" not in library}
    assert unknown == set()


@pytest.mark.grpcio_keeps("a limit of pings")
def test_clients_may_ping_every_ten_seconds(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of it here: gRPC counts pings that come sooner than permitted, and hangs up."""
    real = grpcio.options

    def sooner(**settings: Any) -> list[tuple[str, int]]:
        divided = "grpc.http2.min_ping_interval_without_data_ms"
        return [
            (name, value // 10 if name == divided else value) for name, value in real(**settings)
        ]

    monkeypatch.setattr(grpcio, "options", sooner)
    with (
        running(registry) as server,
        _Pinging(server.ports.grpc) as polite,
        _Pinging(server.ports.grpc) as rude,
    ):
        for _ in range(5):
            polite.ping()
            began = time.monotonic()
            while time.monotonic() < began + 1.1:
                rude.ping()
                time.sleep(0.1)
        assert rude.said_goodbye, "ten times too often"
        assert not polite.said_goodbye
        assert polite.answers == 5


class _Pinging:
    """A raw HTTP/2 connection without calls."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0))
        self.answers = 0
        self.said_goodbye = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def ping(self) -> None:
        try:
            self._socket.sendall(_frame(6, 0, b"12345678"))
        except OSError:
            self.said_goodbye = True

    def _read(self) -> None:
        content = b""
        while True:
            try:
                more = self._socket.recv(65_536)
            except OSError:
                more = b""
            if not more:
                return
            content += more
            while len(content) >= 9 and len(content) >= 9 + int.from_bytes(content[:3], "big"):
                kind, flags = content[3], content[4]
                if kind == 4 and not flags & 1:
                    self._socket.sendall(_frame(4, 1))
                self.answers += kind == 6 and bool(flags & 1)
                self.said_goodbye |= kind == 7
                content = content[9 + int.from_bytes(content[:3], "big") :]

    def __enter__(self) -> "_Pinging":
        return self

    def __exit__(self, *_: Any) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()


def _frame(kind: int, flags: int, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags, 0, 0, 0, 0]) + body


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[str, socket.socket, socket.socket]]:
    """Give a connection as gRPC names its other end, and both of its sockets."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    try:
        listening = socket.create_server((request.param, 0), family=family)
    except OSError:
        pytest.skip(f"{request.param} is not of this machine")
    with listening, socket.create_connection(listening.getsockname()[:2]) as theirs:
        ours, (host, port, *_) = listening.accept()
        with ours:
            yield (
                f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}",
                ours,
                theirs,
            )


def test_a_connection_is_ended_by_the_name_of_its_other_end(
    pair: tuple[str, socket.socket, socket.socket],
) -> None:
    peer, ours, theirs = pair
    assert not connections.end(f"{peer}0"), "another port"
    assert connections.end(peer)
    assert theirs.recv(1) == ours.recv(1) == b""


def test_to_look_for_a_connection_leaves_no_file_open(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w"), socket.create_server(("127.0.0.1", 0)):
        connections.end("ipv4:127.0.0.1:1")
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            connections.end("ipv4:127.0.0.1:1")
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("peer", ["unix:", "unix:/tmp/x", "", "ipv4:127.0.0.1:1", "nonsense"])
def test_who_is_not_connected_is_not_ended(peer: str) -> None:
    assert not connections.end(peer)


def test_calls_go_on_after_a_connection_was_ended(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = []
    real = UnaryMethod.enter

    def enter(method: UnaryMethod, call: Call) -> bytes | Ending | None:
        peers.append(call.peer)
        return real(method, call)

    monkeypatch.setattr(UnaryMethod, "enter", enter)
    with running(registry) as server:
        server.recommender.TopK(REQUEST, timeout=5)
        assert connections.end(peers[0])
        until(lambda: _answers(server.recommender.TopK))
        assert peers[-1] != peers[0]


def _answers(call: Any) -> bool:
    try:
        return bool(call(REQUEST, timeout=5).version)
    except grpc.RpcError:
        return False
