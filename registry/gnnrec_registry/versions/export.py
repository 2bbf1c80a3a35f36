"""The data that a version is made of, checked against each other and written as files."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.errors import InvalidExport
from gnnrec_registry.features import attributes
from gnnrec_registry.features.attributes import ItemAttribute
from gnnrec_registry.features.encoders import Matrix, NodeFeatures
from gnnrec_registry.files import layout
from gnnrec_registry.files.arrays import (
    CONTROLS,
    Embeddings,
    write_embeddings,
    write_integers,
    write_lines,
)
from gnnrec_registry.files.json import Json, canonical_json
from gnnrec_registry.scoring import lists
from gnnrec_registry.scoring.lists import ItemLists
from gnnrec_registry.versions.manifest import (
    DataEntry,
    FitsEntry,
    FoldIn,
    ListsEntry,
    Metrics,
    NodeModel,
    StartEntry,
    VerdictEntry,
)

_REPORT_FILE = re.compile(r"report/[A-Za-z0-9_][A-Za-z0-9_.+-]*")


@dataclass(frozen=True)
class VariantExport:
    """One set of embeddings: users (U, D), items (I, D), and their metrics by split."""

    users: Embeddings
    items: Embeddings
    metrics: Mapping[str, Metrics] = field(default_factory=dict)
    fold_in: FoldIn | None = None
    fold: Embeddings | None = None
    """(I, D): the item vectors from which new users are embedded; goes with fold_in."""
    model: NodeModel | None = None
    onnx: bytes | None = None
    """The content of model.file."""
    lists: ItemLists | None = None
    """What items that a user had add to the scores of others."""

    @property
    def lists_entry(self) -> ListsEntry | None:
        """What the manifest says of the lists."""
        if self.lists is None:
            return None
        return ListsEntry(degree_exponent=self.lists.degree_exponent)


@dataclass(frozen=True)
class FeaturesExport:
    """The feature encoders, and the encoded features of users (U, F_u) and items (I, F_i)."""

    encoding: NodeFeatures
    users: Matrix
    items: Matrix


@dataclass(frozen=True)
class Export:
    """The contents of a version that is to be published.

    seen_indptr (U+1,), seen_items (E,): the items that each user has interacted with, CSR by user
    row.
    """

    user_ids: Sequence[str]
    item_ids: Sequence[str]
    seen_indptr: NDArray[np.int64]
    seen_items: NDArray[np.int32]
    variants: Mapping[str, VariantExport]
    default_variant: str
    golden: Json
    report: Json
    config: Json
    data: DataEntry
    metric_definition: str
    baselines: Mapping[str, Mapping[str, Metrics]]
    libraries: Mapping[str, str]
    verdict: VerdictEntry | None = None
    fits: FitsEntry | None = None
    start: StartEntry | None = None
    """The version that training started from."""
    search: Json | None = None
    """What a search for the models tried."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    item_titles: Sequence[str] | None = None
    seen_liked: NDArray[np.bool_] | None = None
    """(E,): which of the seen interactions are edges of the training graph; None if all are."""
    report_arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Arrays of numbers behind the report, by file name under report/."""
    report_files: Mapping[str, bytes] = field(default_factory=dict)
    """The report's page and pictures, by file name under report/."""
    features: FeaturesExport | None = None
    attributes: Sequence[ItemAttribute] = ()
    """The item attributes for filters."""

    def __post_init__(self) -> None:
        """Raise InvalidExport unless the parts fit each other."""
        users, items = len(self.user_ids), len(self.item_ids)
        if users == 0 or items == 0:
            raise InvalidExport("a version needs at least one user and one item")
        if self.default_variant not in self.variants:
            raise InvalidExport(
                f"default_variant {self.default_variant!r} is not among the variants"
            )
        self._check_variants(users, items)
        self._check_features(users, items)
        self._check_seen(users)
        if self.item_titles is not None and len(self.item_titles) != items:
            raise InvalidExport(f"{len(self.item_titles)} titles for {items} items")
        self._check_report_names()
        attributes.check(self.attributes, items)

    def _check_variants(self, users: int, items: int) -> None:
        for name, variant in self.variants.items():
            layout.check_name("variant", name)
            if name in layout.FOLDERS:
                raise InvalidExport(f"a variant cannot be called {name!r}: that is another folder")
            expected = [(users, variant.users.shape[-1]), (items, variant.users.shape[-1])]
            if [variant.users.shape, variant.items.shape] != expected:
                raise InvalidExport(
                    f"variant {name!r}: users {variant.users.shape} and items "
                    f"{variant.items.shape} do not fit {users} users and {items} items"
                )
            self._check_models(name, variant, items)
            self._check_lists(name, variant, items)

    def _check_features(self, users: int, items: int) -> None:
        if self.features is None:
            return
        widths = self.features.encoding.users.width, self.features.encoding.items.width
        expected = [(users, widths[0]), (items, widths[1])]
        if [self.features.users.shape, self.features.items.shape] != expected:
            raise InvalidExport(
                f"features of shape {self.features.users.shape} and "
                f"{self.features.items.shape} do not fit {expected[0]} and {expected[1]}"
            )

    def _check_seen(self, users: int) -> None:
        if self.seen_indptr.shape != (users + 1,) or self.seen_indptr[-1] != len(self.seen_items):
            raise InvalidExport("seen_indptr and seen_items are not a CSR matrix of the users")
        if self.seen_liked is not None and self.seen_liked.shape != self.seen_items.shape:
            raise InvalidExport("seen_liked does not have a value for each of seen_items")

    def _check_report_names(self) -> None:
        for kinds, names in (
            ((".npy",), self.report_arrays),
            ((".html", ".png", ".svg"), self.report_files),
        ):
            for name in names:
                if not _REPORT_FILE.fullmatch(name) or not name.endswith(kinds):
                    raise InvalidExport(
                        f"{name!a:.80} is no file of a report: report/NAME, ending in one of "
                        f"{', '.join(kinds)}"
                    )

    def _check_models(self, name: str, variant: VariantExport, items: int) -> None:
        width = variant.users.shape[-1]
        if variant.fold_in is not None:
            segments = sum(segment.width for segment in variant.fold_in.segments)
            if variant.fold is None or variant.fold.shape != (items, segments) or segments != width:
                raise InvalidExport(f"variant {name!r}: its fold-in does not fit its embeddings")
        if variant.model is None:
            return
        if variant.onnx is None or self.features is None:
            raise InvalidExport(f"variant {name!r}: a model needs its ONNX file and features")
        expected = layout.model_file(name, variant.model.kind)
        if variant.model.file != expected:
            raise InvalidExport(
                f"variant {name!r}: its model is {variant.model.file!a:.80}, not {expected}"
            )
        graph = variant.model.graph
        if graph is not None and graph not in self.variants:
            raise InvalidExport(f"variant {name!r}: its graph variant {graph!r} is not exported")

    def _check_lists(self, name: str, variant: VariantExport, items: int) -> None:
        if variant.lists is None:
            return
        if len(variant.lists) != items:
            raise InvalidExport(
                f"variant {name!r}: item lists of {len(variant.lists)} items do not fit {items}"
            )
        if (problem := lists.problem(variant.lists)) is not None:
            raise InvalidExport(f"variant {name!r}: its item lists {problem}")

    def write(self, folder: Path) -> None:
        """Write every file but the manifest into the empty `folder`.

        Raises InvalidExport, which names the place, for what cannot be written; `soundness.check`
        checks the format afterwards.
        """
        write_lines(folder / layout.USER_IDS, self.user_ids, unique=True, forbidden=CONTROLS)
        write_lines(folder / layout.ITEM_IDS, self.item_ids, unique=True, forbidden=CONTROLS)
        if self.item_titles is not None:
            write_lines(folder / layout.ITEM_TITLES, self.item_titles, unique=False)
        write_integers(folder / layout.SEEN_INDPTR, self.seen_indptr, "<i8")
        write_integers(folder / layout.SEEN_ITEMS, self.seen_items, "<i4")
        if self.seen_liked is not None and not self.seen_liked.all():
            write_integers(folder / layout.SEEN_LIKED, self.seen_liked.astype(np.uint8), "|u1")
        for name, variant in self.variants.items():
            write_embeddings(folder / layout.users_array(name), variant.users)
            write_embeddings(folder / layout.items_array(name), variant.items)
            if variant.fold is not None:
                write_embeddings(folder / layout.fold_array(name), variant.fold)
            if variant.lists is not None:
                _write_lists(folder, name, variant.lists)
            if variant.model is not None and variant.onnx is not None:
                (folder / variant.model.file).write_bytes(variant.onnx)
        if self.features is not None:
            write_embeddings(folder / layout.USER_FEATURES, self.features.users)
            write_embeddings(folder / layout.ITEM_FEATURES, self.features.items)
        for place, attribute in enumerate(self.attributes):
            attributes.write(folder, place, attribute)
        _write_json(folder, layout.GOLDEN, self.golden)
        (folder / layout.REPORT).parent.mkdir()
        _write_json(folder, layout.REPORT, self.report)
        for name, array in self.report_arrays.items():
            np.save(folder / name, np.ascontiguousarray(array), allow_pickle=False)
        for name, content in self.report_files.items():
            (folder / name).write_bytes(content)


def _write_lists(folder: Path, variant: str, item_lists: ItemLists) -> None:
    indptr, items, weights = (
        folder / layout.lists_array(variant, part) for part in ("indptr", "items", "weights")
    )
    write_integers(indptr, item_lists.indptr, "<i8")
    write_integers(items, item_lists.items, "<i4")
    np.save(weights, np.ascontiguousarray(item_lists.weights, "<f4"), allow_pickle=False)


def _write_json(folder: Path, name: str, value: Json) -> None:
    try:
        content = canonical_json(value)
    except (TypeError, ValueError, RecursionError) as error:  # NaN, surrogates, no JSON at all
        raise InvalidExport(f"{name} cannot be written as JSON: {error}") from None
    (folder / name).write_bytes(content)
