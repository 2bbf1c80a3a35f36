"""A version with every kind of file in the format, for tests that damage it."""

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import (
    Export,
    FeatureEncoder,
    FeaturesExport,
    FoldIn,
    ItemAttribute,
    ItemLists,
    ModelStore,
    NodeFeatures,
    NodeModel,
    Segment,
    VariantExport,
    VerdictEntry,
    Version,
)
from gnnrec_registry.features.encoders import CategoricalEncoding, NumericEncoding
from gnnrec_registry.files.json import Json, canonical_json
from gnnrec_registry.files.layout import MANIFEST
from tests import made

SEEN = [[0, 2], [1], [], [0, 1, 2, 3]]
USERS, ITEMS, K = made.embeddings(4, 4), made.embeddings(6, 4, seed=1), 3
LISTS = ItemLists(
    indptr=np.array([0, 2, 3, 3, 3, 3, 6]),
    items=np.array([1, 4, 0, 0, 1, 2], np.int32),
    weights=np.array([0.5, 1, 2, 0.25, 1, 1], np.float32),
    degree_exponent=0.5,
)
PNG = b"\x89PNG\r\n\x1a\n"


def golden() -> Json:
    """Return the best unseen items of two users, in order."""
    queries = []
    for user in (0, 3):
        sums = np.zeros(6)
        for row in SEEN[user]:
            listed = slice(LISTS.indptr[row], LISTS.indptr[row + 1])
            sums[LISTS.items[listed]] += LISTS.weights[listed]
        sums *= len(SEEN[user]) ** -LISTS.degree_exponent
        scores = (ITEMS.astype(np.float64) @ USERS[user] + sums).astype(np.float32)
        unseen = [item for item in range(6) if item not in SEEN[user]]
        best = sorted(unseen, key=lambda item: -scores[item])[:K]
        queries.append(
            {
                "variant": "lightgcn",
                "user_id": f"u{user}",
                "item_ids": [f"i{item}" for item in best],
                "scores": [float(scores[item]) for item in best],
            }
        )
    return {"k": K, "queries": queries}


def export() -> Export:
    """Return the export of the version."""
    encoding = NodeFeatures(
        users=FeatureEncoder(columns=(NumericEncoding(name="age", mean=30, std=10),)),
        items=FeatureEncoder(
            columns=(CategoricalEncoding(kind="categorical", name="level", categories=("a", "b")),)
        ),
    )
    base = made.export(
        USERS,
        ITEMS,
        SEEN,
        titles=[f"Title {row}" for row in range(6)],
        golden=golden(),
        attributes=[
            ItemAttribute("hours", "number", [1.0, None, 2.5, 3.0, 4.0, 5.0]),
            ItemAttribute("level", "text", ["b", None, "a", "b", "a", "a"]),
            ItemAttribute("topics", "texts", [["x", "y"], [], None, ["x"], ["z"], ["y"]]),
        ],
    )
    folding = FoldIn(
        segments=(Segment(width=1, degree_exponent=0.5), Segment(width=3, degree_exponent=1))
    )
    hybrid = NodeModel(kind="hybrid", file="hybrid/hybrid.onnx", graph="lightgcn")
    metrics = base.variants["lightgcn"].metrics
    return replace(
        base,
        variants={
            "lightgcn": VariantExport(
                USERS, ITEMS, metrics, fold_in=folding, fold=ITEMS, lists=LISTS
            ),
            "hybrid": VariantExport(USERS, ITEMS, model=hybrid, onnx=b"a model"),
        },
        features=FeaturesExport(
            encoding, made.embeddings(4, 1), np.eye(2, dtype=np.float32)[[0, 1] * 3]
        ),
        verdict=VerdictEntry(beats_baselines=True, baseline="random", sentence="It is better."),
        report_arrays={
            # users 0, 2 and 3 have held-out items; user 0 a hit at rank 2, user 2 at ranks 1 and 3
            "report/test.held_out.npy": np.array([1, 0, 2, 1], np.uint8),
            "report/lightgcn.test.npy": np.array([2, 0, 1, 3, 0, 0], np.uint8),
            "report/hybrid.validation.npy": np.array([[0, 0.5], [2, 1]], np.float32),
        },
        report_files={
            "report/index.html": b"<!doctype html>",
            "report/map.svg": b"<svg/>",
            "report/map.png": PNG,
        },
    )


def publish(root: Path, version: str = "v1") -> Version:
    """Publish the version."""
    return ModelStore(root, "toy").publish(export(), version=version)


def npy(array: NDArray[Any]) -> bytes:
    """Return the bytes of an array's .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


class Damage:
    """A published version with changed files and correct checksums, as from a faulty publisher."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: Json = json.loads((folder / MANIFEST).read_bytes())

    def put(self, name: str, content: bytes | NDArray[Any]) -> None:
        """Replace a file."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else npy(content))

    def array(self, name: str) -> NDArray[Any]:
        """Return a copy of an array."""
        array: NDArray[Any] = np.load(self.folder / name)
        return array

    def json(self, name: str) -> Any:
        """Return the content of a JSON file."""
        return json.loads((self.folder / name).read_bytes())

    def put_json(self, name: str, value: Any) -> None:
        """Replace a JSON file; NaN is allowed."""
        self.put(name, json.dumps(value).encode())

    def add(self, name: str, content: bytes | NDArray[Any] = b"x") -> None:
        """Add a file, also to the manifest."""
        self.put(name, content)
        self.list(name)

    def list(self, name: str) -> None:
        """Add a name to the manifest."""
        self.manifest["files"][name] = entry(b"")

    def seal(self) -> None:
        """Update the sizes, the sha256 and the manifest's checksum to the changed files."""
        listed = self.manifest["files"]
        for name in [*listed]:
            path = self.folder / name
            if len(name) <= 255 and path.is_file() and not path.is_symlink():
                listed[name] = entry(path.read_bytes())
        rest = {key: value for key, value in self.manifest.items() if key != "manifest_sha256"}
        checksum = hashlib.sha256(canonical_json(rest)).hexdigest()
        content = canonical_json({**rest, "manifest_sha256": checksum})
        (self.folder / MANIFEST).write_bytes(content)


def entry(content: bytes) -> Json:
    """Return a file's entry in the manifest."""
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
