"""The way of a request through the rooms of the server, as CONTRIBUTING tells it."""

import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import gnnrec_server
from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import ModelStore
from gnnrec_server.index.exact import FlatIndex
from gnnrec_server.load import search_thread
from gnnrec_server.rpc import requests
from gnnrec_server.rpc.gateway import UnaryMethod
from gnnrec_server.version.snapshot import Snapshot
from tests import made
from tests.server.running import Running, running

ROOT = Path(gnnrec_server.__file__).parent
CONTRIBUTING = ROOT.parents[1] / "CONTRIBUTING.md"
# What every room may use on its way is on no path of its own.
ANYWHERE = {"process", "telemetry"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("registry")
    made.publish(root, version="v1")
    ModelStore(root, "toy").aliases.promote("v1", alias="production")
    with running(root, cache_bytes=0, poll_interval_s=60.0) as here:
        yield here


def rooms() -> list[str]:
    """Return the rooms of the calls that this thread is in, the outermost first."""
    passed: list[str] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and path.parent != ROOT:
            room = path.relative_to(ROOT).parts[0]
            if room not in ANYWHERE and passed[:1] != [room]:
                passed.insert(0, room)
        frame = frame.f_back
    return passed


class Way:
    """Where the calls of one TopK have been seen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, str, list[str]]] = []
        """What was called, in which thread, by way of which rooms."""
        for home, name in (
            (UnaryMethod, "_answered"),
            (requests, "top_k"),
            (search_thread._Call, "__init__"),
            (Snapshot, "user_row"),
            (FlatIndex, "_nearest"),
        ):
            monkeypatch.setattr(home, name, self._noted(name, getattr(home, name)))

    def _noted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **named: Any) -> Any:
            self.seen.append((name, threading.current_thread().name, rooms()))
            return function(*arguments, **named)

        return noted


def test_a_topk_enters_each_room_once_on_the_way_in(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = Way(monkeypatch)
    answer = server.recommender.TopK(pb.TopKRequest(user_id="u0", k=5), timeout=10)
    assert len(answer.item_ids) == 5
    loop = way.seen[0][1]
    assert way.seen == [
        ("_answered", loop, ["front", "rpc"]),
        ("top_k", loop, ["front", "rpc"]),
        ("__init__", loop, ["front", "rpc", "load"]),
        ("user_row", "search", ["load", "query"]),
        ("_nearest", "search", ["load", "query", "index"]),
    ]


def test_contributing_tells_the_way_that_a_topk_goes() -> None:
    (told,) = re.findall(r"- \*\*serve\*\*: (.*)", CONTRIBUTING.read_text())
    path = re.findall(r"`(\w+)`", told)
    assert path == ["front", "rpc", "load", "query", "version", "index"]
    assert all((ROOT / room).is_dir() for room in path)
