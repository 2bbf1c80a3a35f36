"""Item attributes, which filters use: raw columns of data, and their files in a version.

I items; V distinct texts of an attribute; E pairs of an item and one of its texts.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gnnrec_registry.errors import InvalidExport
from gnnrec_registry.features.encoders import Value
from gnnrec_registry.files.arrays import csr_problem, distinct, write_lines
from gnnrec_registry.files.json import Part

FOLDER = "attributes"

Kind = Literal["number", "text", "texts"]

# Up to so many texts are looked up one by one; more are found in one pass over all pairs.
_FEW = 64


class AttributeEntry(Part):
    """An attribute in the manifest; its place in the list is the number in its files' names."""

    name: Annotated[str, Field(min_length=1)]
    kind: Kind


@dataclass(frozen=True)
class ItemAttribute:
    """An attribute as data: a number, a text or several texts for each item, None where missing."""

    name: str
    kind: Kind
    values: Sequence[Value | None]
    """(I,)"""

    @property
    def entry(self) -> AttributeEntry:
        """The attribute's entry in the manifest."""
        return AttributeEntry(name=self.name, kind=self.kind)


@dataclass(frozen=True, eq=False)
class Numbers:
    """A numeric attribute: a value for each item (I,) float64, NaN where missing."""

    values: NDArray[np.float64]

    def problem(self, items: int) -> str | None:
        """Return what is wrong with it in a catalogue of `items` items, or None."""
        if self.values.dtype != np.float64 or self.values.shape != (items,):
            return f"is {self.values.dtype} {self.values.shape}, not float64 ({items},)"
        return "holds infinity" if bool(np.isinf(self.values).any()) else None


@dataclass(frozen=True, eq=False)
class Texts:
    """A text attribute: the items that have each text, as CSR by text, item rows ascending.

    texts (V,) ascending, indptr (V+1,), items (E,)
    """

    texts: list[str]
    indptr: NDArray[np.int64]
    items: NDArray[np.int32]

    def rows(self, text: str) -> NDArray[np.int32]:
        """Return the rows of the items that have exactly this text, ascending."""
        place = self._place(text)
        return self.items[:0] if place is None else self._rows_at(place)

    def rows_of_any(self, texts: Collection[str]) -> NDArray[np.int32]:
        """Return the rows of the items that have any of the texts, compared exactly.

        An item with several of the texts occurs once for each; repeating a text changes nothing.
        """
        wanted = set(texts)
        if len(wanted) > len(self.texts):
            found = [place for place, text in enumerate(self.texts) if text in wanted]
        else:
            places = map(self._place, wanted)
            found = sorted(place for place in places if place is not None)
        if len(found) <= _FEW:
            return np.concatenate([self.items[:0], *map(self._rows_at, found)])
        chosen = np.zeros(len(self.texts), bool)
        chosen[found] = True
        rows: NDArray[np.int32] = self.items[np.repeat(chosen, np.diff(self.indptr))]
        return rows

    def _place(self, text: str) -> int | None:
        place = bisect_left(self.texts, text)
        return place if place < len(self.texts) and self.texts[place] == text else None

    def _rows_at(self, place: int) -> NDArray[np.int32]:
        return self.items[self.indptr[place] : self.indptr[place + 1]]

    def problem(self, items: int, kind: Kind) -> str | None:
        """Return what is wrong with it in a catalogue of `items` items, or None."""
        if "" in self.texts:
            return "has an empty text"
        if any(first >= second for first, second in pairwise(self.texts)):
            return "has texts that do not ascend"
        if kind == "text" and len(distinct(self.items)) != self.items.size:
            return "gives an item two texts"
        if (wrong := csr_problem(self.indptr, self.items, len(self.texts), items)) is not None:
            return f"is not a CSR matrix of its texts and items: {wrong}"
        if not (np.diff(self.indptr) > 0).all():
            return "has a text that no item has"
        return None


Attribute = Numbers | Texts


def check(attributes: Sequence[ItemAttribute], items: int) -> None:
    """Raise InvalidExport unless the attributes have distinct names and a value for each item."""
    names = [attribute.name for attribute in attributes]
    if len(set(names)) != len(names) or not all(names):
        raise InvalidExport(f"attributes need distinct names that are not empty: {names}")
    for attribute in attributes:
        if len(attribute.values) != items:
            raise InvalidExport(
                f"attribute {attribute.name!r} has {len(attribute.values)} values for {items} items"
            )


def write(folder: Path, place: int, attribute: ItemAttribute) -> None:
    """Write an attribute's files, or raise InvalidExport for a value that is not of its kind."""
    (folder / FOLDER).mkdir(exist_ok=True)
    stem = folder / FOLDER / str(place)
    if attribute.kind == "number":
        np.save(f"{stem}.npy", _numbers(attribute).astype("<f8"), allow_pickle=False)
        return
    pairs = sorted({(text, row) for row, text in _pairs(attribute)})
    texts = sorted({text for text, _ in pairs})
    places = {text: number for number, text in enumerate(texts)}
    codes = np.array([places[text] for text, _ in pairs], np.int64)
    counts = np.bincount(codes, minlength=len(texts))
    write_lines(Path(f"{stem}.texts"), texts, unique=True)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    np.save(f"{stem}.indptr.npy", indptr.astype("<i8"), allow_pickle=False)
    rows = np.array([row for _, row in pairs], "<i4")
    np.save(f"{stem}.items.npy", rows, allow_pickle=False)


def names(place: int, entry: AttributeEntry) -> list[str]:
    """Return the files of an attribute, relative to the version."""
    endings = [".npy"] if entry.kind == "number" else [".texts", ".indptr.npy", ".items.npy"]
    return [f"{FOLDER}/{place}{ending}" for ending in endings]


def read(
    place: int,
    entry: AttributeEntry,
    lines: Callable[[str], list[str]],
    array: Callable[[str], NDArray[Any]],
) -> Attribute:
    """Return the attribute at a place of the manifest.

    `lines` and `array` read a file of the version by its name.
    """
    files = names(place, entry)
    if len(files) == 1:
        return Numbers(array(files[0]))
    return Texts(lines(files[0]), array(files[1]), array(files[2]))


def problem(entry: AttributeEntry, attribute: Attribute, items: int) -> str | None:
    """Return what is wrong with an attribute in a catalogue of `items` items, or None."""
    if isinstance(attribute, Numbers):
        return attribute.problem(items)
    return attribute.problem(items, entry.kind)


def _numbers(attribute: ItemAttribute) -> NDArray[np.float64]:
    values = [np.nan if value is None else value for value in attribute.values]
    if not all(isinstance(value, int | float) for value in values):
        raise InvalidExport(f"attribute {attribute.name!r} holds more than numbers")
    numbers = np.array(values, np.float64)
    if np.isinf(numbers).any():
        raise InvalidExport(f"attribute {attribute.name!r} holds infinity")
    return numbers


def _pairs(attribute: ItemAttribute) -> list[tuple[int, str]]:
    """Return each item row with each of its texts; InvalidExport for a value of another kind."""
    pairs = []
    for row, value in enumerate(attribute.values):
        if attribute.kind == "text" and isinstance(value, str):
            pairs.append((row, value))
        elif attribute.kind == "texts" and isinstance(value, Sequence) and type(value) is not str:
            pairs.extend((row, str(text)) for text in value)
        elif value is not None:
            raise InvalidExport(f"attribute {attribute.name!r} row {row} is not of its kind")
    return pairs
