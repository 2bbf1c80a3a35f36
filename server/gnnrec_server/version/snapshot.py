"""A version in memory: ids, embeddings and indexes that belong together, immutable."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import ItemLists, Manifest, NodeFeatures
from gnnrec_registry.features.attributes import Attribute
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.lists import added_to, depth, with_lists
from gnnrec_registry.scoring.ranking import NO_ROW, Rows, Scores
from gnnrec_server.errors import MissingVariant, UnknownItem, UnknownUser
from gnnrec_server.index.exact import FlatIndex, Found, Mask
from gnnrec_server.process.cancellation import pause
from gnnrec_server.telemetry.version_metrics import VariantFigures, VersionFigures
from gnnrec_server.version.ids import IdTable
from gnnrec_server.version.node_models import Folding, Model

NO_ROWS: Rows = np.empty(0, np.int64)


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
    lists: ItemLists | None = None
    """Set where the lists of the items that a user had add to the scores."""

    @property
    def takes_new_users(self) -> bool:
        """Whether new users can be embedded at all."""
        return self.folding is not None or self.model is not None

    @property
    def figures(self) -> VariantFigures:
        """The figures that metrics show of it."""
        index, model = self.index, self.model
        provider = None if model is None else model.encoder.provider
        return VariantFigures(self.name, len(index), index.nbytes, index.recall, provider)

    @property
    def embedding_dim(self) -> int:
        """The number of dimensions, D."""
        return int(self.users.shape[1])

    def depth(self, k: int, history: Rows) -> int:
        """Return how many items to search for, of which `with_lists` makes the k best."""
        return k if self.lists is None or len(history) == 0 else depth(k, len(self.index))

    def with_lists(
        self,
        vector: Embeddings,
        k: int,
        found: Found,
        history: Rows,
        permits: Callable[[Rows], Mask],
    ) -> Found:
        """Return the k best items with what the lists of a history add.

        found: the `depth` best by inner product with vector (D,); history: distinct rows,
        ascending; permits: tells which of some rows may be returned
        """
        if self.lists is None or len(history) == 0:
            return found
        return with_lists(
            lambda rows, added: self.index.scores(vector, rows, added),
            k,
            found,
            self.depth(k, history),
            self.lists.added(history, pause),
            permits,
        )

    def scores(self, vector: Embeddings, rows: Rows, history: Rows) -> Scores:
        """Return the scores of items: vector (D,), rows (C,) -> (C,); -inf for NO_ROW."""
        if self.lists is None or len(history) == 0:
            return self.index.scores(vector, rows)
        return self.index.scores(vector, rows, added_to(rows, self.lists.added(history, pause)))


@dataclass(frozen=True)
class Snapshot:
    """All of a version that is needed to answer from it."""

    manifest: Manifest
    user_ids: IdTable
    item_ids: IdTable
    item_titles: list[str] | None
    attributes: dict[str, Attribute]
    """What items can be filtered by; empty for a version without."""
    seen_indptr: NDArray[np.int64]
    seen_items: NDArray[np.int32]
    seen_liked: NDArray[np.bool_] | None
    """Which of the items seen were liked; None if all were, or if no variant asks."""
    variants: dict[str, LoadedVariant]
    load_seconds: dict[str, float]
    """How long each phase of loading took."""

    @cached_property
    def version(self) -> str:
        """The version's id."""
        return self.manifest.version

    @property
    def features(self) -> NodeFeatures:
        """How nodes are described to the models; no columns in a version without."""
        return self.manifest.features or NodeFeatures()

    @property
    def figures(self) -> VersionFigures:
        """The figures that metrics show of it."""
        manifest = self.manifest
        return VersionFigures(
            model=manifest.model,
            version=manifest.version,
            default_variant=manifest.default_variant,
            created_at=manifest.created_at.timestamp(),
            load_seconds=self.load_seconds,
            variants=[variant.figures for variant in self.variants.values()],
        )

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

    def history(self, variant: LoadedVariant, user_row: int) -> Rows:
        """Return the items whose lists add to a user's scores: those that the user had and liked.

        There are none in a variant without lists.
        """
        if variant.lists is None:
            return NO_ROWS
        seen = self.seen(user_row).astype(np.int64)
        if self.seen_liked is None:
            return seen
        return seen[self.seen_liked[self.seen_indptr[user_row] : self.seen_indptr[user_row + 1]]]

    def find_items(self, item_ids: tuple[str, ...]) -> tuple[Rows, list[str]]:
        """Return the rows of the known ids, distinct and ascending, and the unknown ids."""
        rows = self.item_ids.rows(item_ids)
        unknown = [item_ids[place] for place in np.flatnonzero(rows == NO_ROW)]
        known = np.unique(rows)
        return known[known != NO_ROW], list(dict.fromkeys(unknown))
