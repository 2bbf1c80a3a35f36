"""A version in memory: ids, embeddings and indexes that belong together, immutable."""

import json
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import Manifest, NodeFeatures, Version
from gnnrec_registry.arrays import Embeddings
from gnnrec_registry.attributes import Attribute
from gnnrec_registry.layout import GOLDEN
from gnnrec_registry.ranking import NO_ROW, Rows
from gnnrec_server.errors import MissingVariant, UnknownItem, UnknownUser, UnservableVersion
from gnnrec_server.index.approximate import IndexPlan, build
from gnnrec_server.index.exact import FlatIndex
from gnnrec_server.version import cancellation, memory_check
from gnnrec_server.version.ids import IdTable
from gnnrec_server.version.node_models import Folding, Model, load_foldings, load_models

# Two machines may round the last bit of a score differently.
_GOLDEN_TOLERANCE = 1e-5

_DEFAULT_INDEX = IndexPlan()

_WARM_UP_USERS = 16
_WARM_UP_K = 20


@dataclass(frozen=True)
class LoadedVariant:
    """One set of embeddings: users (U, D), and the index over its items (I, D)."""

    name: str
    users: Embeddings
    index: FlatIndex
    folding: Folding | None = None
    """Set where new users can be embedded from interactions alone."""
    model: Model | None = None
    """Set where new nodes can be embedded from features."""

    @property
    def takes_new_users(self) -> bool:
        """Whether new users can be embedded at all."""
        return self.folding is not None or self.model is not None

    @property
    def embedding_dim(self) -> int:
        """D."""
        return int(self.users.shape[1])


@dataclass(frozen=True)
class Snapshot:
    """Everything of a version that answering needs."""

    manifest: Manifest
    user_ids: IdTable
    item_ids: IdTable
    item_titles: list[str] | None
    attributes: dict[str, Attribute]
    """What items can be filtered by; empty for a version without."""
    seen_indptr: NDArray[np.int64]
    seen_items: NDArray[np.int32]
    variants: dict[str, LoadedVariant]
    load_seconds: dict[str, float]
    """How long each phase of loading took."""

    @property
    def version(self) -> str:
        """The version's id."""
        return self.manifest.version

    @property
    def features(self) -> NodeFeatures:
        """How nodes are described to the models; no columns in a version without."""
        return self.manifest.features or NodeFeatures()

    @cached_property
    def default_variant(self) -> LoadedVariant:
        """The variant used when a request names none."""
        return self.variants[self.manifest.default_variant]

    def variant(self, name: str) -> LoadedVariant:
        """Return the named variant, or the default for empty text; raise MissingVariant."""
        if not name:
            return self.default_variant
        try:
            return self.variants[name]
        except KeyError:
            raise MissingVariant(
                f"version {self.version!r} has no variant {name!r}; it has: "
                f"{', '.join(sorted(self.variants))}"
            ) from None

    def user_row(self, user_id: str) -> int:
        """Return a user's row, or raise UnknownUser."""
        row = self.user_ids.row(user_id)
        if row == NO_ROW:
            raise UnknownUser(f"version {self.version!r} has no user {user_id!r:.200}")
        return row

    def item_row(self, item_id: str) -> int:
        """Return an item's row, or raise UnknownItem."""
        row = self.item_ids.row(item_id)
        if row == NO_ROW:
            raise UnknownItem(f"version {self.version!r} has no item {item_id!r:.200}")
        return row

    def seen(self, user_row: int) -> NDArray[np.int32]:
        """Return the rows of the items that a user had in the training data."""
        return self.seen_items[self.seen_indptr[user_row] : self.seen_indptr[user_row + 1]]

    def find_items(self, item_ids: tuple[str, ...]) -> tuple[Rows, list[str]]:
        """Return the rows of the known ids, distinct and ascending, and the unknown ids."""
        rows = self.item_ids.rows(item_ids)
        unknown = [item_ids[place] for place in np.flatnonzero(rows == NO_ROW)]
        known = np.unique(rows)
        return known[known != NO_ROW], list(dict.fromkeys(unknown))


def load(
    version: Version,
    *,
    max_neighbours: int = 32,
    require_gpu: bool = False,
    index: IndexPlan = _DEFAULT_INDEX,
) -> Snapshot:
    """Verify a version, read it, build its indexes and have it reproduce its golden answers.

    Between its steps, and the files that it verifies, it ends if it is called off; see loading.
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
            name, np.asarray(users), built, foldings.get(name), models.get(name)
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
        variants=variants,
        load_seconds=clock.laps,
    )
    _replay_golden(snapshot, version.read(GOLDEN))
    clock.lap("golden")
    _warm_up(snapshot)
    clock.lap("warm_up")
    return snapshot


def _warm_up(snapshot: Snapshot) -> None:
    """Answer for some users by every variant, so that the first who ask need not wait longer."""
    rows = np.linspace(0, len(snapshot.user_ids) - 1, _WARM_UP_USERS).astype(np.int64)
    for variant in snapshot.variants.values():
        for row in rows:
            vector = np.array(variant.users[row])
            variant.index.search(vector, _WARM_UP_K, snapshot.seen(row).astype(np.int64))


def _replay_golden(snapshot: Snapshot, content: bytes) -> None:
    golden = json.loads(content)
    for query in golden["queries"]:
        variant = snapshot.variant(query["variant"])
        exact = variant.index.exact
        row = snapshot.user_row(query["user_id"])
        expected = np.array(query["scores"], np.float32)
        vector = np.array(variant.users[row])
        scores, _ = exact.search(vector, golden["k"], snapshot.seen(row).astype(np.int64))
        named = np.array([snapshot.item_row(item_id) for item_id in query["item_ids"]], np.int64)
        for found in (scores, variant.index.scores(vector, named)):
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
