"""Loading a version: verified, read, indexed, and tried before anybody is answered from it."""

import json
import time

import numpy as np

from gnnrec_registry import Version
from gnnrec_registry.files.layout import GOLDEN
from gnnrec_server.errors import UnservableVersion
from gnnrec_server.index.approximate import IndexPlan, build
from gnnrec_server.index.exact import FlatIndex, Found, contains
from gnnrec_server.version import cancellation, memory_check
from gnnrec_server.version.ids import IdTable
from gnnrec_server.version.node_models import load_foldings, load_models
from gnnrec_server.version.snapshot import LoadedVariant, Snapshot

# Two machines may round the last bit of a score differently.
_GOLDEN_TOLERANCE = 1e-5

_DEFAULT_INDEX = IndexPlan()

_WARM_UP_USERS = 16
_WARM_UP_K = 20


def load(
    version: Version,
    *,
    max_neighbours: int = 32,
    require_gpu: bool = False,
    index: IndexPlan = _DEFAULT_INDEX,
) -> Snapshot:
    """Verify a version, read it, build its indexes and have it reproduce its golden answers.

    Between its steps, and the files that it verifies, it ends if it is called off (cancellation).
    Raises the registry's VersionCorrupt for damage, UnservableVersion for a wrong answer a model
    that does not run or too little memory, CannotStart for one on the CPU where a GPU is required.
    """
    clock = _Clock()
    memory_check.check(version, index)
    version.verify(lambda read: cancellation.current().check())
    clock.lap("verify")
    indptr, items = version.seen
    user_ids, item_ids = IdTable(version.user_ids), IdTable(version.item_ids)
    clock.lap("read")
    foldings = load_foldings(version)
    models = load_models(version, foldings, max_neighbours, require_gpu)
    clock.lap("models")
    variants = {}
    for name in version.manifest.variants:
        cancellation.current().check()
        users, embeddings = version.embeddings(name)
        where = f"version {version.name!r}, variant {name!r}"
        built = build(index, users, embeddings, where)
        variants[name] = LoadedVariant(
            name,
            np.asarray(users),
            built,
            foldings.get(name),
            models.get(name),
            version.lists(name),
        )
    clock.lap("build")
    snapshot = Snapshot(
        manifest=version.manifest,
        user_ids=user_ids,
        item_ids=item_ids,
        item_titles=version.item_titles,
        attributes=version.attributes(),
        seen_indptr=np.asarray(indptr),
        seen_items=np.asarray(items),
        seen_liked=version.liked if any(one.lists for one in variants.values()) else None,
        variants=variants,
        load_seconds=clock.laps,
    )
    _replay_golden(snapshot, version.read(GOLDEN))
    clock.lap("golden")
    _warm_up(snapshot)
    clock.lap("warm_up")
    return snapshot


def _warm_up(snapshot: Snapshot) -> None:
    """Search for some users in every variant, so that the first requests are no slower."""
    rows = np.linspace(0, len(snapshot.user_ids) - 1, _WARM_UP_USERS).astype(np.int64)
    for variant in snapshot.variants.values():
        for row in rows.tolist():
            _answer(snapshot, variant, variant.index, row, _WARM_UP_K)


def _answer(
    snapshot: Snapshot, variant: LoadedVariant, index: FlatIndex, row: int, k: int
) -> Found:
    """Return the k best unseen items of a known user."""
    vector, seen = np.array(variant.users[row]), snapshot.seen(row).astype(np.int64)
    history = snapshot.history(variant, row)
    found = index.search(vector, variant.depth(k, history), seen)
    return variant.with_lists(vector, k, found, history, lambda rows: ~contains(seen, rows))


def _replay_golden(snapshot: Snapshot, content: bytes) -> None:
    golden = json.loads(content)
    for query in golden["queries"]:
        variant = snapshot.variant(query["variant"])
        row = snapshot.user_row(query["user_id"])
        expected = np.array(query["scores"], np.float32)
        scores, _ = _answer(snapshot, variant, variant.index.exact, row, golden["k"])
        named = np.array([snapshot.item_row(item_id) for item_id in query["item_ids"]], np.int64)
        history = snapshot.history(variant, row)
        for found in (scores, variant.scores(np.array(variant.users[row]), named, history)):
            if found.shape != expected.shape or not np.allclose(
                found, expected, rtol=_GOLDEN_TOLERANCE, atol=_GOLDEN_TOLERANCE
            ):
                raise UnservableVersion(
                    f"version {snapshot.version!r} does not reproduce golden.json: variant "
                    f"{variant.name!r}, user {query['user_id']!r}"
                )


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        cancellation.current().check()
        now = time.monotonic()
        self.laps[name] = now - self._last
        self._last = now
