"""Where a server listens, over real sockets of each kind."""

import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from gnnrec import Client, Error, Tls
from gnnrec_registry import ModelStore
from gnnrec_server.errors import CannotStart
from gnnrec_server.process import address
from gnnrec_server.process.address import Tcp, UnixSocket
from gnnrec_server.rpc.tls import TlsFiles
from gnnrec_server.settings import Settings
from tests import made
from tests.end_to_end.command import GNNREC, ok, refusal
from tests.gnnrec.servers import self_signed
from tests.server.running import running
from tests.server.scraping import scraped_text


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("registry")
    made.publish(root, version="v1")
    ModelStore(root, "toy").aliases.promote("v1", alias="production")
    return root


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a socket #1? 100%20 é.sock"


@contextmanager
def serving(
    registry: Path, *options: str, cwd: Path | None = None
) -> Iterator[tuple["subprocess.Popen[str]", str, str]]:
    """Serve by the command, and yield its process, and the two addresses that it prints."""
    command = [
        str(GNNREC), "serve", "--registry", str(registry), "--metrics-port", "0", "--drain", "0",
    ]  # fmt: skip
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r" on (.+), metrics on (http://\S+?)(, .+)?\n", line)
            if found is None:
                process.kill()
                raise AssertionError(line + process.communicate()[1])
            yield process, found[1], found[2]
        finally:
            process.terminate()
            process.communicate(timeout=30)


def says(where: str) -> str:
    """Return the version that a server answers with."""
    with Client(where, timeout_s=10) as client:
        assert client.health()
        return client.top_k("u0", k=3).version


@pytest.mark.parametrize(
    ("text", "read", "spoken"),
    [
        ("127.0.0.1:50051", Tcp("127.0.0.1", 50051), "127.0.0.1:50051"),
        ("recommender:0", Tcp("recommender", 0), "recommender:0"),
        ("[::1]:50051", Tcp("::1", 50051), "[::1]:50051"),
        ("[::]:65535", Tcp("::", 65535), "[::]:65535"),
        ("[fe80::1%eth0]:1", Tcp("fe80::1%eth0", 1), "[fe80::1%eth0]:1"),
        ("unix:/run/a.sock", UnixSocket(Path("/run/a.sock")), "unix:/run/a.sock"),
        ("unix:///run/a.sock", UnixSocket(Path("/run/a.sock")), "unix:/run/a.sock"),
        ("unix:/run//x/../a", UnixSocket(Path("/run/a")), "unix:/run/a"),
        ("unix:a b", UnixSocket(Path.cwd() / "a b"), f"unix:{Path.cwd()}/a b"),
    ],
)
def test_an_address_is_read_and_said_again(text: str, read: object, spoken: str) -> None:
    assert address.read(text) == read
    assert str(read) == spoken
    assert address.read(spoken) == read


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "lacks a host"),
        (":50051", "lacks a host"),
        ("[]:50051", "lacks a host"),
        ("127.0.0.1", "lacks a host"),
        ("127.0.0.1:", "port must be a number from 0 to 65535"),
        ("127.0.0.1:http", "port must be a number from 0 to 65535"),
        ("127.0.0.1:99999", "port must be a number from 0 to 65535"),
        ("127.0.0.1:-1", "port must be a number from 0 to 65535"),
        ("127.0.0.1:٣", "port must be a number from 0 to 65535"),
        ("::1:50051", r"stands in brackets, such as \[::1\]:50051"),
        ("[::1]50051:1", "stands in brackets"),
        ("http://127.0.0.1:50051", "stands in brackets|no such host"),
        ("a b:1", "no such host"),
        ("unix:", "takes a path"),
        ("unix://run/a.sock", "takes a path"),
        ("unix:/a,b", "take a comma for the end"),
        ("unix:/" + 107 * "x", "has 108 bytes, and that of a socket 107 at most"),
        ("unix:/" + 54 * "é", "has 109 bytes"),
    ],
)
def test_what_is_no_address_is_refused_in_one_line(text: str, problem: str) -> None:
    with pytest.raises(CannotStart, match=problem) as caught:
        address.read(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_metrics_and_health_are_beside_grpc_and_on_this_machine_beside_a_socket() -> None:
    def placed(where: str, metrics_host: str = "") -> tuple[str, str]:
        settings = Settings(
            "r", "m", address=where, metrics_port=1, health_port=2, metrics_host=metrics_host
        )
        return str(settings.metrics_at), str(settings.health_at)

    assert placed("0.0.0.0:5") == ("0.0.0.0:1", "0.0.0.0:2")
    assert placed("[::]:5") == ("[::]:1", "[::]:2")
    assert placed("unix:/a") == ("127.0.0.1:1", "127.0.0.1:2")
    assert placed("0.0.0.0:5", "127.0.0.1") == ("127.0.0.1:1", "0.0.0.0:2")
    assert placed("unix:/a", "[::]") == ("[::]:1", "127.0.0.1:2")


@needs_ipv6
@pytest.mark.parametrize("host", ["[::1]", "[::]"])
def test_ipv6_is_served_with_metrics_and_health(registry: Path, host: str) -> None:
    with running(registry, address=f"{host}:0", health_port=0) as server:
        ports, health = server.ports, server.server.health_port
        assert server.address == f"{host}:{ports.grpc}"
        spoken = ["[::1]", "127.0.0.1"] if host == "[::]" else ["[::1]"]
        for each in spoken:
            assert says(f"{each}:{ports.grpc}") == "v1"
            with urlopen(f"http://{each}:{ports.metrics}/metrics", timeout=10) as response:
                assert b"gnnrec_model_info" in response.read()
            with Client(f"{each}:{health}", timeout_s=10) as client:
                assert client.health()


@needs_ipv6
@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_ready_line_says_can_be_pasted(registry: Path, workers: int) -> None:
    options = ("--address", "[::]:0", "--workers", str(workers), "--log-level", "error")
    with serving(registry, *options) as (_, where, metrics):
        assert where.startswith("[::]:")
        assert "of v1:" in ok("topk", "u0", "--address", where)
        with urlopen(metrics, timeout=10) as response:
            assert b"gnnrec_requests_total" in response.read()


def test_a_socket_is_served_and_gone_at_the_end(registry: Path, path: Path) -> None:
    with running(registry, address=f"unix:{path}", health_port=0) as server:
        assert stat.S_ISSOCK(path.lstat().st_mode)
        assert says(f"unix:{path}") == "v1"
        assert 'gnnrec_requests_total{code="OK"' in scraped_text(server.ports.metrics)
        with Client(f"127.0.0.1:{server.server.health_port}", timeout_s=10) as client:
            assert client.health()
    assert not path.exists()


def test_a_socket_speaks_tls_too(registry: Path, path: Path, tmp_path: Path) -> None:
    pair = self_signed(tmp_path, "localhost")
    with running(registry, address=f"unix:{path}", tls=TlsFiles(pair.certificate, pair.key)):
        tls = Tls(pair.certificate, server_name="localhost")
        with Client(f"unix:{path}", tls=tls, timeout_s=10) as client:
            assert client.top_k("u0").version == "v1"
        with Client(f"unix:{path}", timeout_s=2) as client, pytest.raises(Error):
            client.top_k("u0")
        with pytest.raises(ValueError, match=r"needs tls\.server_name"):
            Client(f"unix:{path}", tls=Tls(pair.certificate))


def test_the_socket_of_a_killed_server_is_replaced_and_that_of_a_living_one_is_not(
    registry: Path, path: Path
) -> None:
    old = os.umask(0o077)
    try:
        with serving(registry, "--address", "unix:sock", cwd=path.parent) as (killed, where, _):
            path = path.parent / "sock"
            assert where == f"unix:{path}"
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, "as the umask says"
            with (
                pytest.raises(CannotStart, match="a server listens there"),
                running(registry, address=f"unix:{path}"),
            ):
                pass
            assert says(f"unix:{path}") == "v1"
            killed.send_signal(signal.SIGKILL)
            killed.wait(10)
    finally:
        os.umask(old)
    assert path.exists()
    with running(registry, address=f"unix:{path}"):
        assert says(f"unix:{path}") == "v1"
    assert not path.exists()


def test_what_is_no_socket_is_never_removed(registry: Path, path: Path) -> None:
    path.write_text("precious")
    folder = path.parent / "folder"
    folder.mkdir()
    link = path.parent / "link"
    link.symlink_to(path)
    for there in (path, folder, link):
        with (
            pytest.raises(CannotStart, match="there is something that is no socket"),
            running(registry, address=f"unix:{there}"),
        ):
            pass
    assert path.read_text() == "precious"
    assert folder.is_dir()
    assert link.is_symlink()
    with (
        pytest.raises(CannotStart, match=f"there is no folder {path.parent}/none;"),
        running(registry, address=f"unix:{path.parent}/none/x"),
    ):
        pass


def test_a_socket_that_stands_in_anothers_place_is_left_to_it(registry: Path, path: Path) -> None:
    with running(registry, address=f"unix:{path}"):
        remove = UnixSocket(path).remover()
    with socket.socket(socket.AF_UNIX) as another:
        another.bind(str(path))
        remove()
        assert path.exists()


def test_a_start_that_fails_leaves_no_socket(registry: Path, path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(CannotStart, match=r"metrics port .* cannot be used: Address already in use"),
        running(registry, address=f"unix:{path}", metrics_port=taken.getsockname()[1]),
    ):
        pass
    assert not path.exists()


def test_a_server_that_takes_no_more_connections_is_still_there(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(0)
        waiting = []
        try:
            while True:
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                waiting[-1].connect(str(path))
        except BlockingIOError:
            pass
        with pytest.raises(CannotStart, match="a server listens there"):
            UnixSocket(path).make_way()
        for each in waiting:
            each.close()
    UnixSocket(path).make_way()
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--address", "127.0.0.1"), "it lacks a host"),
        (("--address", "127.0.0.1:99999"), "from 0 to 65535"),
        (("--address", "nosuch.invalid:0"), "Name or service not known|name resolution"),
        (("--address", "192.0.2.77:0"), "Cannot assign requested address"),
        (("--address", "unix:/tmp/" + 120 * "x"), "that of a socket 107 at most"),
        (("--address", "unix:s", "--workers", "2"), "2 workers cannot share a socket"),
        (("--address", "nosuch.invalid:0", "--workers", "2"), "not known|name resolution"),
        (("--address", "127.0.0.1:0", "--metrics-host", "nosuch.invalid"), "metrics port nosuch"),
    ],
)
def test_a_wrong_address_is_one_line(
    registry: Path, options: tuple[str, ...], problem: str
) -> None:
    line = refusal("serve", "--registry", registry, "--metrics-port", 0, *options)
    assert re.search(problem, line), line


def test_clients_refuse_what_is_no_address() -> None:
    for wrong, problem in {
        "127.0.0.1:": "no host and port",
        ":50051": "no host and port",
        "localhost:http": "no host and port",
        "127.0.0.1:99999": "from 1 to 65535",
        "127.0.0.1:0": "from 1 to 65535",
        "::1:50051": r"in brackets, such as \[::1\]:50051",
        "a b:1": "no such host",
        "unix:": "names no path",
        "unix:/a,b": "takes a comma for the end",
    }.items():
        with pytest.raises(ValueError, match=problem):
            Client(wrong)
    assert "is no address" in refusal("topk", "u0", "--address", "localhost:99999")
    for other in ("dns:///recommender", "ipv4:127.0.0.1:1", "xds:///recommender"):
        Client(other).close()


def test_a_host_without_a_port_has_that_of_a_server_without_settings() -> None:
    for host in ("localhost", "127.0.0.1", "[::1]"):
        with Client(host, timeout_s=0.2) as client, pytest.raises(Error) as caught:
            client.top_k("u0", version="none")
        assert f"{host}:50051" in str(caught.value)


def test_a_client_names_the_socket_that_is_not_there(path: Path) -> None:
    with Client(f"unix:{path}") as client, pytest.raises(Error, match="No such file") as caught:
        client.top_k("u0")
    assert f"no answer from a server at unix:{path} (" in str(caught.value)
    assert f"unix:{path} (" in refusal("topk", "u0", "--address", f"unix:{path}")
