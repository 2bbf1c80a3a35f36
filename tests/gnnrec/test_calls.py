"""The subcommands that talk to a server."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from gnnrec.cli import main
from gnnrec.cli.options import read_filters
from gnnrec_registry import ItemAttribute, ModelStore
from tests import made
from tests.end_to_end.command import ok, refusal, run
from tests.gnnrec.servers import self_signed, told
from tests.server.running import Running, running


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("level=beginner,intermediate", ["beginner", "intermediate"]),
        ("level=a=b", ["a=b"]),
        ("hours=..10", (None, 10.0)),
        ("hours=2..", (2.0, None)),
        ("hours=-2.5..1e3", (-2.5, 1000.0)),
        ("name=a..b", ["a..b"]),
        ("name=..", [".."]),
        ("hours=..inf", ["..inf"]),
    ],
)
def test_a_filter_is_a_range_where_it_looks_like_one(
    text: str, condition: list[str] | tuple[float | None, float | None]
) -> None:
    assert read_filters([text]) == {text.partition("=")[0]: condition}


@pytest.mark.parametrize("text", ["hours", "=a", "hours=", ""])
def test_a_filter_without_a_name_or_a_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="takes ATTRIBUTE=TEXT,TEXT or ATTRIBUTE=LEAST"):
        read_filters([text])
    with pytest.raises(ValueError, match="names 'a' twice"):
        read_filters(["a=1", "a=2"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("registry")
    hours = ItemAttribute("hours", "number", [float(row) for row in range(30)])
    store = ModelStore(root, "toy")
    for seed, version in ((0, "v1"), (9, "v2")):
        export = made.export(made.embeddings(5, 4, seed), made.embeddings(30, 4, seed + 1))
        store.publish(replace(export, attributes=[hours]), version=version)
    store.aliases.promote("v1", alias="production")
    store.aliases.promote("v2", alias="canary")
    with running(root, served_aliases=("canary",)) as here:
        yield here


def test_options_of_an_answer(server: Running) -> None:
    at = ("--address", server.address, "--json")
    answer = json.loads(ok("topk", "u0", "--filter", "hours=..3", "--alias", "canary", *at))
    assert answer["version"] == "v2"
    assert {item["item_id"] for item in answer["items"]} == {"i0", "i1", "i2", "i3"}
    assert json.loads(ok("score", "u0", "i1", "--version", "v2", *at))["version"] == "v2"
    state = json.loads(ok("status", *at))
    assert state["model"]["serving_version"] == "v1"
    assert state["model"]["versions"][0]["created_at"].endswith("+00:00")
    assert [each["state"] for each in state["versions"]] == ["loaded", "loaded"]
    several = f"{server.address},{server.address}"
    assert ok("health", "--address", several) == "serving\n"
    table = ok("status", "--address", server.address).splitlines()
    assert table[0] == "toy: v1 by alias production"
    assert table[-1].split() == ["v1", "loaded", "production"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--filter", "hours"), "--filter takes ATTRIBUTE=TEXT,TEXT"),
        (("--version", "v1", "--alias", "canary"), "name a version or an alias, not both"),
        (("-k", "99999999999"), "k is 99999999999; it is a whole"),
        (("--address", "a:1,b:2"), "several addresses are IP:PORT"),
        (("--token", "x", "--address", "10.0.0.1:1"), "a token to 10.0.0.1:1 could be read"),
        (("--client-cert", "a.pem"), "a client's certificate and key go together"),
        (("--tls-ca", "/nowhere.pem"), "[Errno 2] No such file or directory: '/nowhere.pem'"),
    ],
)
def test_a_mistake_is_one_line(
    options: tuple[str, ...],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["gnnrec", "topk", "u0", *options])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"gnnrec: {line}")
    assert told.count("\n") == 1


def test_tls_and_a_token(tmp_path: Path) -> None:
    pair = self_signed(tmp_path, "localhost")
    chain = (pair.key.read_bytes(), pair.certificate.read_bytes())
    with told(credentials=grpc.ssl_server_credentials([chain])) as (servicer, address):
        name = address.replace("127.0.0.1", "localhost")
        at = ("topk", "u", "--address", name, "--json")
        env = {"GNNREC_TOKEN": "secret\n"}
        done = run(*at, "--tls-ca", pair.certificate, env=env)
        assert json.loads(done.stdout)["version"] == "a", done.stderr
        assert servicer.calls[0]["authorization"] == "Bearer secret"
        assert "no answer from a server" in refusal(*at)
        assert len(servicer.calls) == 1
