"""Damage to a version that docs/registry-format.md forbids, for every sentence in it.

The damaged versions have correct sizes, sha256 and checksums, so only the format's checks find it.
"""

import io
import os
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnrec_registry import Export, ItemAttribute, ModelStore, NodeModel, VariantExport
from gnnrec_registry.errors import InvalidExport, InvalidName, NoSuchVersion, VersionCorrupt
from gnnrec_registry.files.arrays import read_array
from gnnrec_registry.files.layout import MANIFEST
from tests.registry.versions import full
from tests.registry.versions.full import Damage

ROOT = Path(__file__).parents[3]
DOCS = " ".join((ROOT / "docs" / "registry-format.md").read_text().split())

Spoil = Callable[[Damage], object]


def setting(*path: Any, to: Any) -> Spoil:
    """Return a function that sets a value in the manifest."""

    def spoil(damage: Damage) -> None:
        *steps, last = path
        place = damage.manifest
        for step in steps:
            place = place[step]
        place[last] = to

    return spoil


def put(name: str, content: Any) -> Spoil:
    return lambda damage: damage.put(name, content)


def change(name: str, how: Callable[[Any], Any]) -> Spoil:
    """Return a function that changes an array."""
    return lambda damage: damage.put(name, how(damage.array(name)))


def place(name: str, where: Any, value: Any) -> Spoil:
    """Return a function that sets a value in an array."""

    def placed(array: Any) -> Any:
        array[where] = value
        return array

    return change(name, placed)


def listed(name: str) -> Spoil:
    return lambda damage: damage.list(name)


def added(name: str, content: Any = b"x") -> Spoil:
    return lambda damage: damage.add(name, content)


def without(name: str) -> Spoil:
    def spoil(damage: Damage) -> None:
        (damage.folder / name).unlink()
        del damage.manifest["files"][name]

    return spoil


def golden(**changed: Any) -> Spoil:
    """Return what changes the first golden query."""

    def spoil(damage: Damage) -> None:
        content = damage.json("golden.json")
        content["queries"][0] |= changed
        damage.put_json("golden.json", content)

    return spoil


def called(name: str) -> Spoil:
    """Return a function that renames the variant hybrid."""

    def spoil(damage: Damage) -> None:
        variants = damage.manifest["variants"]
        variants[name] = variants.pop("hybrid")

    return spoil


def column(damage: Damage) -> None:
    columns = damage.manifest["features"]["users"]["columns"]
    columns.append(columns[0])
    damage.put("features/users.npy", np.zeros((4, 2), np.float32))


def unused_text(damage: Damage) -> None:
    damage.put(f"{A}1.texts", b"a\nb\nc\n")
    damage.put(f"{A}1.indptr.npy", np.array([0, 3, 5, 5]))


class Opened:
    """An object that runs a program when it is unpickled."""

    def __reduce__(self) -> Any:
        return (os.system, ("false",))


def archive() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3))
    return file.getvalue()


IDS = "Ids are unique, not empty, and hold no control character (U+0000 to U+001F)"
LINES = "UTF-8 ids, one a line; line i is row i"
TITLES = "optional; UTF-8, one a line, empty where an item has none"
POINTERS = "seen.indptr.npy int64 (U+1,) what users are known to have had, as CSR by user"
LIKED = "seen.liked.npy uint8 (E,) 1 for an interaction of the graph"
ROWS = "seen.items.npy int32 (E,) item rows, ascending within a user"
EMBEDDED = "<variant>/users.npy float32 (U, D)"
NUMBERS = "attributes/<n>.npy float64 (I,)"
ASCEND = "UTF-8, one a line, ascending: the V distinct texts of the items"
BY_TEXT = "int32 (E,) item rows, ascending within a text"
REPORT = "report/metrics.json a JSON object"
PAGE = "the report as one page that opens from disk, UTF-8"
RANKS = "uint8 or wider (H + V,): the ranks, from 1 and ascending, of each user's hits"
HELD_OUT = "uint8 or wider (U,): how many held-out items each user has"
BEFORE = "the first versions have float32 (V, 1 + M) in its place"
ARRAYS = (
    "Arrays are `.npy` without pickles, little-endian, C order, with nothing behind their numbers"
)
KINDS = "its files end in `.npy`, `.json`, `.ids`, `.titles`, `.texts`, `.onnx`, `.html`"
RELATIVE = "A file's name is relative to the version, with `/` between its parts"
PARTS = "no part is empty, `.`, `..` or longer than 255 bytes"
PRINTABLE = "every character is printable and no backslash"
EVERY = "lists every other file with size and sha256"
FINITE = "Embeddings and encoded features hold no NaN or infinity."
TEXTS = "Texts of an attribute are not empty and hold no line break; its numbers are finite"
ONE_TEXT = "An item has at most one text of a `text`"
DISTINCT = "Attributes have distinct names that are not empty."
NAMED = "Names of models, versions, aliases and variants are 1 to 128 letters, digits"
FOLDERS = "the names of its folders, and when (UTC) it was published"
DATA = "`users` and `items` (U and I), `interactions` by split"
VARIANTS = "`embedding_dim`, `dtype`, `metrics` by split, `fold_in`, `model` and `lists` or null"
GOLDEN = 'golden.json {"k", "queries": [{"variant", "user_id", "item_ids", "scores"}]}'
BEST = "for some users, the k best items that are not in the user's `seen`, or all where there are"
ORDER = "Items are ordered by score descending, equal scores by the lower row."
COLUMNS = "The names of the columns of users are distinct and not empty"
SEGMENTS = "`segments` divide the D columns from left to right"
LISTS = "lists.indptr.npy int64 (I+1,) with lists: what an item adds to the scores of others"
LISTED = "lists.items.npy int32 (E,) item rows, ascending within an item's list"
WEIGHTS = "lists.weights.npy float32 (E,) the weight of each"
ABOVE = "Weights of lists are finite and above 0."
EXPONENT = "`lists.degree_exponent` is an exponent a, 0 to 1."
MODEL = "`model` names an ONNX `file`, `<variant>/<kind>.onnx`, of a `kind`"

A, U, I = "attributes/", "lightgcn/users.npy", "lightgcn/items.npy"  # noqa: E741 (items)
L = "lightgcn/lists."
S, P, G = "seen.items.npy", "seen.indptr.npy", "golden.json"
HITS, HELD = "report/lightgcn.test.npy", "report/test.held_out.npy"
UTC = "2024-01-01T00:00:00"

BROKEN: list[tuple[str, Spoil, str]] = [
    # the files
    (LINES, put("users.ids", b"u0\nu1\nu2\n"), "3 ids, the manifest says 4"),
    (LINES, put("users.ids", b"u0\nu1\nu2\nu\xff\n"), "not UTF-8"),
    (LINES, put("users.ids", b"u0\nu1\nu2\nu\xed\xa0\x80\n"), "not UTF-8"),
    (LINES, put("users.ids", b"u0\nu1\nu2\nu3"), "cut short"),
    (IDS, put("users.ids", b"u0\nu1\nu1\nu3\n"), "an id twice"),
    (IDS, put("users.ids", b"u0\n\nu2\nu3\n"), "an empty id"),
    (IDS, put("users.ids", b"u0\nu\x002\nu2\nu3\n"), "a control character"),
    (IDS, put("items.ids", b"i0\ni1\ni\t2\ni3\ni4\ni5\n"), "items.ids has a control character"),
    (IDS, put("items.ids", b"i0\r\ni1\ni2\ni3\ni4\ni5\n"), "items.ids has a control character"),
    (TITLES, put("items.titles", b"\n"), "1 titles for 6 items"),
    (TITLES, put("items.titles", b"a\nb\nc\n\xff\ne\nf\n"), "not UTF-8"),
    (POINTERS, change(P, np.int32), "int32 (5,), not int64"),
    (POINTERS, change(P, lambda array: array[1:]), "(4,), not int64"),
    (POINTERS, put(P, np.array([1, 2, 3, 3, 7])), "not ascend from 0"),
    (POINTERS, put(P, np.array([0, 3, 2, 3, 7])), "not ascend from 0"),
    (POINTERS, put(P, np.array([0, 2, 3, 3, 8])), "7 columns, and 8"),
    (POINTERS, put(P, np.array([0, 2**63 - 1, -(2**63), 3, 7])), "not ascend from 0"),
    (ROWS, change(S, np.int64), "int64 (7,), not int32"),
    (ROWS, change(S, lambda array: array[:, None]), "int32 (7, 1), not int32"),
    (ROWS, place(S, slice(0, 2), [2, 0]), "row 0 do not ascend"),
    (ROWS, place(S, 4, 0), "row 3 do not ascend, or one stands twice"),
    (ROWS, place(S, 6, 6), "not within 0 and 5"),
    (ROWS, place(S, 0, -1), "not within 0 and 5"),
    (LIKED, added("seen.liked.npy", np.ones(6, np.uint8)), "is not a 0 or 1 of uint8 for each of"),
    (LIKED, added("seen.liked.npy", np.ones(7, np.int32)), "is not a 0 or 1 of uint8 for each of"),
    (LIKED, added("seen.liked.npy", np.full(7, 2, np.uint8)), "is not a 0 or 1 of uint8"),
    (EMBEDDED, change(U, np.float64), "float64 (4, 4), not float32"),
    (EMBEDDED, change(U, lambda array: array[1:]), "(3, 4), not float32 (4, 4)"),
    (EMBEDDED, change(U, lambda array: array[:, 1:].copy()), "(4, 3), not float32 (4, 4)"),
    ("<variant>/items.npy float32 (I, D)", without("hybrid/items.npy"), "items.npy is missing"),
    ("<variant>/fold.npy float32 (I, D)", without("lightgcn/fold.npy"), "fold.npy is missing"),
    ("<variant>/fold.npy float32 (I, D)", change("lightgcn/fold.npy", lambda a: a[1:]), "(5, 4)"),
    ("<variant>/<kind>.onnx with model", without("hybrid/hybrid.onnx"), "hybrid.onnx is missing"),
    ("features/users.npy float32 (U, F_u)", without("features/users.npy"), "is missing"),
    ("features/users.npy float32 (U, F_u)", change("features/users.npy", np.float16), "float16"),
    (
        "features/items.npy float32 (I, F_i)",
        change("features/items.npy", lambda array: array[:, :1].copy()),
        "(6, 1), not float32 (6, 2)",
    ),
    (NUMBERS, change(f"{A}0.npy", np.float32), "float32 (6,), not float64"),
    (NUMBERS, without(f"{A}0.npy"), "attributes/0.npy is missing"),
    (ASCEND, put(f"{A}1.texts", b"b\na\n"), "do not ascend"),
    (ASCEND, put(f"{A}1.texts", b"a\na\n"), "do not ascend"),
    ("attributes/<n>.indptr.npy int64 (V+1,)", change(f"{A}1.indptr.npy", np.int32), "int32 (3,)"),
    (BY_TEXT, place(f"{A}2.items.npy", slice(0, 2), [3, 0]), "do not ascend"),
    (REPORT, put("report/metrics.json", b"[]"), "no JSON object"),
    (REPORT, put("report/metrics.json", b"{"), "is not JSON"),
    (REPORT, put("report/metrics.json", b"[" * 10**5), "is not JSON"),
    (REPORT, without("report/metrics.json"), "is missing"),
    (PAGE, put("report/index.html", b"\xff"), "index.html is not UTF-8"),
    ("report/<picture>.png .svg", put("report/map.png", b"GIF89a"), "is no PNG"),
    (RANKS, put(HITS, np.array([2, 0, 3, 1, 0, 0], np.uint8)), "do not ascend within a user"),
    (RANKS, put(HITS, np.array([2, 0, 1, 1, 0, 0], np.uint8)), "do not ascend within a user"),
    (RANKS, put(HITS, np.array([2, 0, 1, 3, 0], np.uint8)), "2 lists of hits for 3 users"),
    (RANKS, put(HITS, np.array([0, 0, 0, 1], np.uint8)), "does not end with a 0"),
    (RANKS, put(HITS, np.array([1, 2, 0, 0, 0], np.uint8)), "more hits than held-out items"),
    (RANKS, put(HITS, np.array([2, 0, 1, 3, 0, 0])), "not unsigned (H + V,)"),
    (RANKS, without(HELD), "held_out.npy is missing"),
    (HELD_OUT, put(HELD, np.zeros(3, np.uint8)), "not unsigned (4,)"),
    (HELD_OUT, put(HELD, np.zeros(4, np.int8)), "not unsigned (4,)"),
    (BEFORE, place("report/hybrid.validation.npy", (0, 0), np.nan), "holds NaN"),
    # item lists
    (LISTS, without(f"{L}indptr.npy"), "lists.indptr.npy is missing"),
    (LISTS, change(f"{L}indptr.npy", np.int32), "int32 (7,), not int64"),
    (LISTS, change(f"{L}indptr.npy", lambda array: array[1:]), "(6,), not int64 (7,)"),
    (LISTS, place(f"{L}indptr.npy", 1, 4), "'lightgcn': its item lists are not a CSR matrix"),
    (LISTS, place(f"{L}indptr.npy", -1, 5), "6 columns, and 5"),
    (LISTED, without(f"{L}items.npy"), "lists.items.npy is missing"),
    (LISTED, change(f"{L}items.npy", np.int64), "int64 (6,), not int32"),
    (LISTED, place(f"{L}items.npy", slice(0, 2), [4, 1]), "row 0 do not ascend"),
    (LISTED, place(f"{L}items.npy", 4, 2), "row 5 do not ascend, or one stands twice"),
    (LISTED, place(f"{L}items.npy", 5, 6), "not within 0 and 5"),
    (LISTED, place(f"{L}items.npy", 0, -1), "not within 0 and 5"),
    (WEIGHTS, without(f"{L}weights.npy"), "lists.weights.npy is missing"),
    (WEIGHTS, change(f"{L}weights.npy", np.float64), "weights of float64 (6,), not float32 (6,)"),
    (WEIGHTS, change(f"{L}weights.npy", lambda array: array[1:]), "(5,), not float32 (6,)"),
    (ABOVE, place(f"{L}weights.npy", 5, np.nan), "a weight that is not finite and above 0"),
    (ABOVE, place(f"{L}weights.npy", 0, np.inf), "a weight that is not finite and above 0"),
    (ABOVE, place(f"{L}weights.npy", 3, 0), "a weight that is not finite and above 0"),
    (ABOVE, place(f"{L}weights.npy", 2, -1), "a weight that is not finite and above 0"),
    (
        EXPONENT,
        setting("variants", "lightgcn", "lists", to={"degree_exponent": 1.5}),
        "lists.degree",
    ),
    (
        EXPONENT,
        setting("variants", "lightgcn", "lists", to={"degree_exponent": -1}),
        "lists.degree",
    ),
    (EXPONENT, setting("variants", "lightgcn", "lists", to={}), "lists.degree_exponent"),
    # arrays and names
    (ARRAYS, put(U, np.array([[Opened()] * 4] * 4, object)), "Python objects in dtype"),
    (ARRAYS, put(U, archive()), "is not a readable .npy file"),
    (ARRAYS, put(U, b""), "is not a readable .npy file"),
    (ARRAYS, put(U, full.npy(full.USERS)[:-4]), "is not a readable .npy file"),
    (ARRAYS, change(U, lambda array: array.astype(">f4")), "is not little-endian"),
    (ARRAYS, change(U, np.asfortranarray), "is not in C order"),
    (ARRAYS, put(U, full.npy(full.USERS) + b"x"), "of which its array takes"),
    (ARRAYS, added("lightgcn/x.npy", np.array(["text"])), "holds <U4"),
    (KINDS, added("lightgcn/model.pkl"), "is of no kind that stands"),
    (KINDS, added("run.sh", b"#!/bin/sh\n"), "is of no kind that stands"),
    (KINDS, added("weights.pt"), "is of no kind that stands"),
    (RELATIVE, listed("/etc/passwd"), "'/etc/passwd' is not a name"),
    (PARTS, listed("../v2/users.ids"), "'../v2/users.ids' is not a name"),
    (PARTS, listed("lightgcn/../users.ids"), "is not a name"),
    (PARTS, listed("./users.ids"), "is not a name"),
    (PARTS, listed("lightgcn//users.npy"), "is not a name"),
    (PARTS, listed("lightgcn/"), "is not a name"),
    (PARTS, listed(""), "is not a name"),
    (PARTS, listed("x" * 252 + ".npy"), "is not a name"),
    (PRINTABLE, listed(f"x\n{UTC} INFO served.npy"), "is not a name"),
    (PRINTABLE, listed("x\u2028y.npy"), "is not a name"),
    (PRINTABLE, listed("x\x1b[31m.npy"), "is not a name"),
    (PRINTABLE, listed("..\\v2\\users.ids"), "is not a name"),
    (EVERY, put("notes.json", b"{}"), "'notes.json' is not in the manifest"),
    (EVERY, put("lightgcn/.npy", b""), "'lightgcn/.npy' is not in the manifest"),
    (EVERY, put("a\nb.json", b"{}"), r"'a\nb.json' is not in the manifest"),
    (EVERY, listed(MANIFEST), "is not a name"),
    # contents of arrays
    (FINITE, place(U, (3, 3), np.nan), "users.npy holds NaN or infinity"),
    (FINITE, place(I, (0, 0), np.inf), "items.npy holds NaN or infinity"),
    (FINITE, place("lightgcn/fold.npy", (0, 0), -np.inf), "fold.npy holds NaN or infinity"),
    (FINITE, place("features/users.npy", 0, np.nan), "users.npy holds NaN or infinity"),
    (TEXTS, put(f"{A}1.texts", b"\nb\n"), "'level' has an empty text"),
    (TEXTS, put(f"{A}1.texts", b"a\nb\nc\n"), "int64 (3,), not int64 (4,)"),
    (TEXTS, place(f"{A}0.npy", 0, np.inf), "'hours' holds infinity"),
    (ONE_TEXT, place(f"{A}1.items.npy", 3, 5), "gives an item two texts"),
    ("Every text is some item's.", unused_text, "a text that no item has"),
    (DISTINCT, setting("attributes", 1, "name", to="hours"), "an attribute stands twice"),
    (DISTINCT, setting("attributes", 0, "name", to=""), "attributes.0.name"),
    ("`kind`, one of `number`, `text`, `texts`", setting("attributes", 0, "kind", to="b"), "kind"),
    ("A version has at least one user and one item.", setting("data", "users", to=0), "data.users"),
    # the manifest
    ("`format` | 1", setting("format", to=2), "has format 2"),
    ("`format` | 1", setting("format", to=True), "has format True"),
    ("`format` | 1", lambda damage: damage.manifest.pop("format"), "has format None"),
    (NAMED, called("two words"), "variants.two words"),
    (NAMED, called("x\ny"), r"'x\ny'"),
    (NAMED, called(".."), "is not a name"),
    (NAMED, setting("version", to="v 1"), "version: Value error, 'v 1' is not a name"),
    ("no variant is called `attributes`, `features` or `report`", called("features"), "'features'"),
    (FOLDERS, setting("version", to="v2"), "is of 'v2'"),
    (FOLDERS, setting("model", to="other"), "of model 'other', not 'toy'"),
    (FOLDERS, setting("created_at", to=UTC), "created_at"),
    (FOLDERS, setting("created_at", to=f"{UTC}+02:00"), "is not in UTC"),
    (FOLDERS, setting("created_at", to=7), "created_at"),
    ("the resolved training configuration", setting("config", to=[]), "config"),
    (DATA, setting("data", "users", to=5), "4 ids, the manifest says 5"),
    (DATA, setting("data", "items", to=7), "6 ids, the manifest says 7"),
    (DATA, setting("data", "items", to="6"), "data.items"),
    (DATA, setting("data", "interactions", "train", to=-1), "data.interactions.train"),
    (VARIANTS, setting("variants", "lightgcn", "embedding_dim", to=5), "not float32 (4, 5)"),
    (VARIANTS, setting("variants", "lightgcn", "embedding_dim", to=0), "embedding_dim"),
    (VARIANTS, setting("variants", "lightgcn", "dtype", to="float64"), "dtype"),
    (VARIANTS, setting("variants", "lightgcn", "metrics", to={"test": {"r": "x"}}), "metrics"),
    (VARIANTS, setting("variants", to={}), "is not one of its variants"),
    (
        "the one of them served when a request names none",
        setting("default_variant", to="sage"),
        "default_variant 'sage' is not one of its variants",
    ),
    ("null only without models", setting("features", to=None), "a model, and the version no feat"),
    ("metrics by baseline and split", setting("baselines", to={"random": 1}), "baselines.random"),
    (
        "null where nothing was measured",
        setting("verdict", to={"baseline": "x"}),
        "beats_baselines",
    ),
    ("versions of what trained it", setting("libraries", to={"numpy": 2}), "libraries.numpy"),
    ("how long parts of the training took", setting("seconds", to={"all": -1.0}), "seconds.all"),
    ("by path: `size`, `sha256`", setting("files", "gone.npy", to={"size": 1}), "sha256"),
    # golden answers
    (GOLDEN, without(G), "golden.json is missing"),
    (GOLDEN, put(G, b"[" * 10**5), "golden.json: "),
    (GOLDEN, put(G, b'{"k": 3}'), "golden.json: queries"),
    (GOLDEN, put(G, b'{"k": 0, "queries": []}'), "golden.json: k"),
    (GOLDEN, put(G, b'{"k": "3", "queries": []}'), "golden.json: k"),
    (GOLDEN, golden(scores=["1", "2", "3"]), "queries.0.scores"),
    (GOLDEN, golden(scores=[float("nan")] * 3), "golden.json: "),
    (GOLDEN, golden(variant="sage"), "query 0 is of another variant"),
    (GOLDEN, golden(user_id="u9"), "query 0 is of a user who is not there"),
    (GOLDEN, golden(item_ids=["i1", "i3", "i9"]), "query 0 has an item that is not there"),
    (BEST, golden(item_ids=["i1", "i3", "i0"]), "query 0 has an item that was seen"),
    (BEST, golden(item_ids=["i1"], scores=[0.5]), "query 0 has 1 items and 1 scores, not 3"),
    (BEST, golden(scores=[3.0, 2.0]), "query 0 has 3 items and 2 scores, not 3"),
    (ORDER, golden(scores=[1.0, 2.0, 3.0]), "not by score descending"),
    (ORDER, golden(item_ids=["i5", "i3", "i1"], scores=[1.0] * 3), "then by ascending row"),
    (ORDER, golden(item_ids=["i1", "i1", "i3"], scores=[1.0] * 3), "then by ascending row"),
    # features and models
    (COLUMNS, setting("features", "users", "columns", 0, "name", to=""), "need distinct names"),
    (COLUMNS, column, "need distinct names"),
    (
        "its place in `categories`",
        setting("features", "items", "columns", 0, "categories", to=["a", "a"]),
        "a category stands twice",
    ),
    (
        "1, or its weight",
        setting("features", "items", "columns", 0, "weights", to=[1.0]),
        "'level': 1 weights",
    ),
    (
        "column may have a `pattern`",
        setting("features", "items", "columns", 0, "pattern", to="no group"),
        "pattern has no group",
    ),
    ("(x - `mean`) / `std`", setting("features", "users", "columns", 0, "std", to=0.0), "std"),
    (
        "| `kind` | takes | gives |",
        setting("features", "users", "columns", 0, "kind", to="odd"),
        "features.users.columns.0",
    ),
    (
        SEGMENTS,
        setting("variants", "lightgcn", "fold_in", "segments", 0, "width", to=2),
        "5 wide, not 4",
    ),
    (SEGMENTS, setting("variants", "lightgcn", "fold_in", "segments", to=[]), "0 wide, not 4"),
    (
        "a `degree_exponent` e, 0 to 1",
        setting("variants", "lightgcn", "fold_in", "segments", 0, "degree_exponent", to=2),
        "degree_exponent",
    ),
    (MODEL, setting("variants", "hybrid", "model", "file", to=G), "not hybrid/hybrid.onnx"),
    (MODEL, setting("variants", "hybrid", "model", "file", to="../x.onnx"), "is not a name for a"),
    (MODEL, setting("variants", "hybrid", "model", "kind", to="other"), "model.kind"),
    (
        "embeddings of the variant that `model.graph` names",
        setting("variants", "hybrid", "model", "graph", to="sage"),
        "'sage' is not one of",
    ),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("registry")
    full.publish(root).verify()
    return root


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "registry")
    return tmp_path / "registry"


def damaged(root: Path) -> Damage:
    return Damage(root / "toy" / "versions" / "v1")


def verify(root: Path) -> None:
    ModelStore(root, "toy").open("v1").verify()


@pytest.mark.parametrize(("sentence", "spoil", "message"), BROKEN, ids=range(len(BROKEN)))
def test_no_sentence_of_the_format_can_be_broken_unseen(
    copied: Path, sentence: str, spoil: Spoil, message: str
) -> None:
    assert sentence in DOCS
    damage = damaged(copied)
    spoil(damage)
    damage.seal()
    with pytest.raises(VersionCorrupt) as caught:
        verify(copied)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spoil",
    [
        put("users.ids", "u0\n ž\u2028 \nu\x7f\nu3\n".encode()),
        put("items.titles", b"\n\t\n\r\n\n\n\n"),
        put(S, np.array([0, 2, 5, 0, 1, 2, 3], np.int32)),
        added("seen.liked.npy", np.array([1, 0, 0, 1, 0, 1, 1], np.uint8)),
        put(f"{A}1.texts", b"\x01\n\r\n"),
        put(HITS, np.array([0, 1, 2, 0, 9, 0], np.uint32)),
        added("report/a picture (1).png", full.PNG),
        setting("a later key", to={"x": 1}),
        setting("variants", "lightgcn", "a later key", to=[1]),
        setting("variants", "lightgcn", "lists", to=None),
        lambda damage: damage.manifest["variants"]["hybrid"].pop("lists"),
        place(f"{L}weights.npy", 0, 1e-45),
        golden(scores=[1e9, 0.0, -1e9]),
    ],
)
def test_what_the_format_allows_is_sound(copied: Path, spoil: Spoil) -> None:
    damage = damaged(copied)
    spoil(damage)
    damage.seal()
    verify(copied)


@pytest.mark.parametrize("name", ["users.ids", U, MANIFEST, "lightgcn"])
def test_a_link_in_a_version_is_refused_wherever_it_leads(copied: Path, name: str) -> None:
    path = damaged(copied).folder / name
    path.rename(copied / "away")
    path.symlink_to(copied / "away")
    with pytest.raises(VersionCorrupt, match=f"'{name}' is a symbolic link"):
        verify(copied)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("users.ids", r"users\.ids is a named pipe, not a regular file"),
        ("stray", "'stray' is not in the manifest"),
        (MANIFEST, "no version 'v1'"),
    ],
)
def test_a_pipe_is_refused_without_waiting_for_it(copied: Path, name: str, message: str) -> None:
    """Nobody writes to the pipe, so opening it would block for ever."""
    path = damaged(copied).folder / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises((VersionCorrupt, NoSuchVersion), match=message):
        verify(copied)


def test_a_socket_is_refused(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(damaged(copied).folder)  # the path of a socket must be short
    Path("users.ids").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("users.ids")
        with pytest.raises(VersionCorrupt, match=r"users\.ids is a socket, not a regular file"):
            verify(copied)


def test_of_many_strange_files_the_first_are_named(copied: Path) -> None:
    for number in range(25):
        damaged(copied).put(f"s{number:02}", b"")
    with pytest.raises(VersionCorrupt, match="'s09' is not in the manifest; and 15 more such"):
        verify(copied)


@pytest.mark.filterwarnings("ignore:Reading `.npy`")  # of Python 2's headers
@given(where=st.integers(0, 127), letters=st.binary(min_size=1, max_size=9))
@settings(max_examples=500, deadline=None)
def test_no_header_of_an_array_is_worse_than_corrupt(
    whole: Path, where: int, letters: bytes
) -> None:
    """With any bytes as a header, the result is an array or VersionCorrupt."""
    content = bytearray(full.npy(full.USERS))
    content[where : where + len(letters)] = letters
    path = whole / "array.npy"
    path.write_bytes(content)
    with suppress(VersionCorrupt):
        assert isinstance(read_array(path, "it"), np.ndarray)


def test_a_version_that_is_pruned_while_it_is_verified_is_said_to_be(copied: Path) -> None:
    version = ModelStore(copied, "toy").open("v1")
    assert ModelStore(copied, "toy").prune(0) == ["v1"]
    with pytest.raises(NoSuchVersion, match="'v1' was deleted while it was read"):
        version.verify()


Change = Callable[[Export], Export]


def replacing(**changed: Any) -> Change:
    return lambda export: replace(export, **changed)


def variant(name: str, **changed: Any) -> Change:
    """Return a function that changes a variant."""

    def change(export: Export) -> Export:
        changed_one = replace(export.variants[name], **changed)
        return replace(export, variants={**export.variants, name: changed_one})

    return change


def lists(**changed: Any) -> Change:
    """Return a function that changes the item lists of the variant lightgcn."""
    return variant("lightgcn", lists=replace(full.LISTS, **changed))


def query(**changed: Any) -> Change:
    """Return what changes the first golden query."""
    content = full.golden()
    content["queries"][0] |= changed
    return replacing(golden=content)


def data(**changed: Any) -> Change:
    return lambda export: replace(export, data=export.data.model_copy(update=changed))


IDS4, IDS6 = [f"u{row}" for row in range(4)], [f"i{row}" for row in range(6)]
PLAIN = VariantExport(full.USERS, full.ITEMS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replacing(user_ids=["u0", "u1", "u1", "u3"]), "an id stands twice"),
        (replacing(user_ids=["u0", "", "u2", "u3"]), "row 1: ''"),
        (replacing(user_ids=["u0", "a\tb", "u2", "u3"]), r"row 1: 'a\tb'"),
        (replacing(item_ids=["\0", *IDS6[1:]]), r"row 0: '\x00'"),
        (replacing(item_ids=["\ud800", *IDS6[1:]]), "not valid Unicode"),
        (replacing(item_titles=["a\nb"] * 6), "cannot stand on a line"),
        (replacing(seen_items=np.array([2, 0, 1, 0, 1, 2, 3])), "row 0 do not ascend"),
        (replacing(seen_items=np.array([0, 0, 1, 0, 1, 2, 3])), "row 0 do not ascend"),
        (replacing(seen_items=np.array([0, 6, 1, 0, 1, 2, 3])), "not within 0 and 5"),
        (replacing(seen_items=np.array([0, 2**32 + 2, 1, 0, 1, 2, 3])), "does not fit int32"),
        (replacing(seen_items=np.array([0, 2.5, 1, 0, 1, 2, 3])), "expected integers"),
        (replacing(seen_indptr=np.array([1, 2, 3, 3, 7])), "not ascend from 0"),
        (variant("lightgcn", users=np.full((4, 4), np.nan, np.float32)), "holds NaN"),
        (variant("lightgcn", users=full.USERS.astype(np.float64)), "expected a float32 matrix"),
        (variant("lightgcn", fold=full.ITEMS[:, :3]), "its fold-in does not fit"),
        (variant("hybrid", model=NodeModel(kind="sage", file="x.onnx")), "not hybrid/sage.onnx"),
        (lists(indptr=np.zeros(6, np.int64)), "item lists of 5 items do not fit 6"),
        (lists(indptr=np.array([0, 2, 1, 3, 3, 3, 6])), "'lightgcn': its item lists are not a CSR"),
        (lists(items=np.array([4, 1, 0, 0, 1, 2])), "row 0 do not ascend"),
        (lists(items=np.array([1.5, 4, 0, 0, 1, 2])), "expected integers"),
        (lists(weights=np.ones(6)), "weights of float64 (6,), not float32 (6,)"),
        (lists(weights=np.ones(5, np.float32)), "weights of float32 (5,), not float32 (6,)"),
        (lists(weights=np.zeros(6, np.float32)), "a weight that is not finite and above 0"),
        (lists(weights=np.full(6, np.nan, np.float32)), "a weight that is not finite and above 0"),
        (lists(degree_exponent=2.0), "degree_exponent 2, which is not within 0 and 1"),
        (lists(degree_exponent=float("nan")), "degree_exponent nan, which is not within 0 and 1"),
        (
            variant("hybrid", model=NodeModel.model_construct(kind="hybrid", file="../../x.onnx")),
            "'../../x.onnx', not hybrid/hybrid.onnx",
        ),
        (replacing(variants={"report": PLAIN}, default_variant="report"), "cannot be called"),
        (replacing(features=None), "needs its ONNX file and features"),
        (replacing(golden={"k": 3}), "golden.json: queries"),
        (replacing(golden={"k": 3, "queries": [], "x": float("nan")}), "cannot be written as JSON"),
        (query(user_id="u9"), "query 0 is of a user who is not there"),
        (query(item_ids=["i1", "i3", "i9"]), "query 0 has an item that is not there"),
        (query(item_ids=["i1", "i3", "i0"]), "query 0 has an item that was seen"),
        (query(scores=[1.0, 2.0, 3.0]), "not by score descending"),
        (replacing(report={"a": {1, 2}}), "metrics.json cannot be written as JSON"),
        (replacing(report_arrays={HITS: np.array([1, 0])}), "not unsigned (H + V,)"),
        (replacing(report_arrays={"report/../x.npy": np.zeros(1)}), "is no file of a report"),
        (replacing(report_arrays={"/tmp/x.npy": np.zeros(1)}), "is no file of a report"),
        (replacing(report_files={"report/x.exe": b""}), "is no file of a report"),
        (replacing(report_files={"golden.html": b""}), "is no file of a report"),
        (replacing(report_files={"report/x.png": b"GIF"}), "is no PNG"),
        (data(users=5), "4 ids, the manifest says 5"),
        (data(interactions={"train": -1}), "data.interactions.train"),
        (replacing(config={"a": float("nan")}), "nothing was published"),
        (replacing(config={"a": object()}), "nothing was published"),
        (replacing(seconds={"all": -1.0}), "seconds.all"),
        (replacing(attributes=[ItemAttribute("a", "number", [np.inf] * 6)]), "holds infinity"),
    ],
)
def test_nothing_is_published_that_verify_would_refuse(
    tmp_path: Path, change: Change, message: str
) -> None:
    with pytest.raises((InvalidExport, InvalidName)) as caught:
        ModelStore(tmp_path, "toy").publish(change(full.export()), version="v1")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("toy/versions/*"))
    assert not list(tmp_path.rglob("x.*"))
