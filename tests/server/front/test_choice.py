"""Which front answers, and that it is said."""

import importlib.util
import logging
from pathlib import Path
from typing import Any

import pytest

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import ModelStore
from gnnrec_server.errors import CannotStart
from gnnrec_server.front.choice import Wanted, choose
from tests import made
from tests.server.running import running, scrape


def wanted(front: Any = "auto", host: str = "127.0.0.1", **given: Any) -> Wanted:
    return Wanted(front, host, **given)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "unix:/tmp/x"])
def test_on_this_machine_the_fast_front_answers(host: str) -> None:
    assert choose(wanted(host=host)).front == "native"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"has_tls": True}, "TLS"),
        ({"max_connection_age_s": 5.0}, "age"),
        ({"max_pending": 5}, "--max-pending"),
        ({"host": "0.0.0.0"}, "any size"),
        ({"host": "::"}, "any size"),
        ({"host": "example.org"}, "any size"),
        ({"front": "grpcio"}, "as asked for"),
    ],
)
def test_what_the_fast_front_does_not_keep_is_left_to_grpcio(
    given: dict[str, Any], why: str
) -> None:
    choice = choose(wanted(**given))
    assert choice.front == "grpcio"
    assert why in choice.why


def test_a_front_that_is_asked_for_and_cannot_do_it_is_an_error() -> None:
    with pytest.raises(CannotStart, match="pygrpc-native has no TLS; --front grpcio can"):
        choose(wanted(front="native", has_tls=True))
    assert choose(wanted(front="native", host="0.0.0.0")).front == "native"


def test_without_the_package_grpcio_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pygrpc_native" else real(name)
    )
    assert choose(wanted()).front == "grpcio"
    with pytest.raises(CannotStart, match=r"gnnrec\[fast\] brings it"):
        choose(wanted(front="native"))


def test_the_front_is_said_in_the_log_and_in_a_metric(
    tmp_path: Path, front: str, caplog: pytest.LogCaptureFixture
) -> None:
    made.publish(tmp_path, version="v1")
    ModelStore(tmp_path, "toy").aliases.promote("v1", alias="production")
    caplog.set_level(logging.INFO, "gnnrec.server")
    with running(tmp_path) as server:
        server.recommender.TopK(pb.TopKRequest(user_id="u0", k=1), timeout=5)
        assert scrape(server)["gnnrec_front_info", (("front", front),)] == 1
    assert f"gRPC by {front}: as asked for" in caplog.messages
