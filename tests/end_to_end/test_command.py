import json
import re
from pathlib import Path

import pytest

from gnnrec_registry import ModelStore
from tests.end_to_end.command import ok, refusal, run, serving


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sample data set and a registry of two versions, the first in production."""
    folder = tmp_path_factory.mktemp("world")
    ok("generate", folder / "data", "--users", 300, "--items", 120, "--interactions", 5000)
    config = folder / "data" / "gnnrec.toml"
    text = config.read_text()
    quick = folder / "data" / "quick.toml"
    quick.write_text(f"{text[: text.index('[lightgcn')]}\n[spectral]\nembedding_dim = 16\n")
    into = ("--registry", folder / "registry", "--json")
    first = json.loads(ok("train", config, *into, "--promote", "production").splitlines()[-1])
    second = json.loads(ok("train", quick, *into).splitlines()[-1])
    (folder / "versions.json").write_text(json.dumps([first, second]))
    return folder


def at(world: Path) -> tuple[str, Path, str, str]:
    return ("--registry", world / "registry", "--model", "courses")


def published(world: Path) -> list[str]:
    return [entry["version"] for entry in json.loads((world / "versions.json").read_text())]


def test_train_prints_one_json_object_for_programs(world: Path) -> None:
    first = json.loads((world / "versions.json").read_text())[0]
    assert set(first) == {"model", "version", "seconds", "metrics", "verdict"}
    assert first["model"] == "courses"
    assert 0 < first["metrics"]["test"]["recall@20"] < 1
    assert 0 < first["metrics"]["validation"]["ndcg@20"] < 1
    assert first["verdict"]["beats_baselines"] is True
    served, *baselines = [row["model"] for row in first["verdict"]["rows"]]
    assert served in ("lightgcn", "sage", "hybrid")
    assert "popularity" in baselines
    assert "random" not in baselines


def test_the_whole_path_ends_in_a_recommendation(world: Path) -> None:
    """Serve, ask for text and for JSON, promote, and get an answer of the new version."""
    first, second = published(world)
    with serving(world / "registry", "courses", "--poll-interval", 0.05) as address:
        words = ok("topk", "person-7", "-k", 3, "--address", address)
        assert re.search(f"for person-7, by (lightgcn|sage|hybrid) of {first}", words)
        assert len(words.splitlines()) == 5
        answer = json.loads(ok("topk", "person-7", "-k", 3, "--address", address, "--json"))
        assert all(item["title"] for item in answer["items"])
        best = answer["items"][0]
        scores = json.loads(
            ok("score", "person-7", best["item_id"], "?", "--address", address, "--json")
        )
        assert scores["items"][0]["score"] == best["score"]
        assert scores["items"][1]["score"] is None
        similar = ok("topk", "--item", best["item_id"], "--address", address)
        assert f"similar to {best['item_id']}" in similar
        assert f"courses: {first} by alias production" in ok("status", "--address", address)
        assert ok("health", "--address", address) == "serving\n"
        allowed = ("--tolerance", 0.5, "--why", "new")
        assert f"is now {second} (was {first})" in ok("promote", second, *at(world), *allowed)
        for _ in range(200):
            answer = json.loads(ok("topk", "person-7", "--address", address, "--json"))
            if answer["version"] == second:
                break
        assert answer["version"] == second
        line = refusal("topk", "nobody", "--address", address)
        assert line == f"gnnrec: version {second!r} has no user 'nobody'"
        assert "must be 1 to 1000" in refusal("topk", "person-7", "-k", 0, "--address", address)
        assert ok("rollback", *at(world)).startswith(f"production is now {first}")
    history = json.loads(ok("history", *at(world), "--json"))
    assert [move["action"] for move in history] == ["promote", "promote", "rollback"]
    assert [move["why"] for move in history] == ["trained", "new", ""]


def test_a_known_person_asked_as_new_is_answered_as_known(world: Path) -> None:
    """With the features and interactions of the training, GraphSAGE computes the same scores."""
    version = ModelStore(world / "registry", "courses").open(published(world)[0])
    row = version.user_ids.index("person-7")
    indptr, items = version.seen
    had = [version.item_ids[item] for item in items[indptr[row] : indptr[row + 1]]]
    people = (world / "data" / "people.csv").read_text().splitlines()
    _, age, goal, interests = next(line for line in people if line.startswith("person-7,")).split(
        ","
    )
    features = {"age": int(age), "goal": goal, "interests": interests.split("|")}
    with serving(world / "registry", "courses", "--max-neighbours", 10_000) as address:
        ask = ("topk", "-k", 5, "--variant", "sage", "--address", address, "--json")
        known = json.loads(ok(*ask, "person-7"))
        new = json.loads(
            ok(*ask, "--new-user", json.dumps({"item_ids": had, "features": features}))
        )
    assert [item["item_id"] for item in new["items"]] == [
        item["item_id"] for item in known["items"]
    ]
    for ours, theirs in zip(new["items"], known["items"], strict=True):
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)


def test_a_registry_can_be_read_without_a_server(world: Path) -> None:
    first, second = published(world)
    listed = ok("versions", *at(world))
    assert listed.index(second) < listed.index(first)
    assert "published 2" in ok("show", first, *at(world))
    assert json.loads(ok("show", first, *at(world), "--json"))["version"] == first
    assert ok("verify", first, *at(world)).startswith(f"{first} is whole")
    compared = json.loads(ok("compare", first, second, *at(world), "--json"))
    assert "config.spectral.embedding_dim" in compared["differences"]
    assert 0 < compared["answers"]["overlap"]["mean"] < 1
    page = Path(ok("report", first, *at(world)).strip())
    assert "courses" in page.read_text()
    assert "nothing to delete" in ok("prune", "--keep", 5, *at(world))


def test_every_option_is_a_variable_as_well(world: Path) -> None:
    env = {
        "GNNREC_REGISTRY": str(world / "registry"),
        "GNNREC_MODEL": "courses",
        "GNNREC_JSON": "1",
    }
    assert json.loads(run("versions", env=env).stdout)["model"] == "courses"
    assert "no registry at /nowhere" in refusal("serve", env=env | {"GNNREC_REGISTRY": "/nowhere"})


def test_a_users_mistake_is_one_line_and_exit_code_2(world: Path, tmp_path: Path) -> None:
    first = published(world)[0]
    assert "no configuration at" in refusal("train", tmp_path / "none.toml")
    config = tmp_path / "bad.toml"
    config.write_text('name = "bad"\n[data]\ninteractions = "none.csv"\n')
    registry = tmp_path / "registry"
    assert "no file" in refusal("train", config, "--registry", registry)
    assert not registry.exists()
    assert "no registry at" in refusal("versions", "--registry", registry, "--model", "x")
    assert "gnnrec train CONFIG" in refusal("versions", "--registry", registry)
    assert "no version 'v9'" in refusal("promote", "v9", *at(world))
    assert "no version 'v9'" in refusal("verify", "v9", *at(world))
    assert "is not a name" in refusal("promote", "../x", *at(world))
    assert "no alias 'canary'" in refusal("serve", *at(world), "--alias", "canary")
    assert "no alias 'canary'" in refusal("rollback", *at(world), "--alias", "canary")
    assert "no answer from a server" in refusal("topk", "x", "--address", "127.0.0.1:1")
    assert "too many" in refusal("generate", tmp_path / "d", "--users", 2, "--items", 2)
    with serving(world / "registry", "courses") as address:
        assert f"address {address} cannot be used" in refusal(
            "serve", *at(world), "--address", address, "--metrics-port", 0
        )
    folder = world / "registry" / "courses" / "versions" / first
    content = (folder / "lightgcn" / "users.npy").read_bytes()
    try:
        (folder / "lightgcn" / "users.npy").write_bytes(content[:-9])
        for command in (("verify", first), ("promote", first)):
            assert "lightgcn/users.npy has" in refusal(*command, *at(world))
    finally:
        (folder / "lightgcn" / "users.npy").write_bytes(content)
