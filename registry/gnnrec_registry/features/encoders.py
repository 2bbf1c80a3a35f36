"""How raw features become vectors: fitted by training, kept in the manifest, applied in serving.

N nodes; F_u and F_i, the widths of the encoded features of users and of items. A model's input is
always [user columns (F_u) | item columns (F_i) | 1 for a user | 1 for an item]. The block of the
other kind is zero, or the mean over the node's neighbours for a model that uses it.
"""

import math
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from gnnrec_registry.errors import InvalidFeature
from gnnrec_registry.files.json import Part

Matrix = NDArray[np.float32]

Value = float | str | Sequence[str] | Sequence[float]
"""A raw value: a number, a text, several texts, or several numbers."""

TableValue = Value | NDArray[np.float64]
"""A raw value in a table, where a vector may be an array."""

_LARGEST = 10.0
_TINY = 1e-300

# A regular expression may take quadratic time or worse in the length of a text.
_LONGEST_SEARCHED = 1000


class _Patterned(Part):
    """A column whose value may be extracted from a text by a regular expression."""

    name: str
    pattern: str | None = None
    """A regular expression of Python whose first group is the value, such as a title's year."""

    @model_validator(mode="after")
    def _compiles(self) -> Any:
        if self.pattern is not None:
            try:
                groups = re.compile(self.pattern).groups
            except (re.error, RecursionError, OverflowError) as error:
                raise ValueError(f"{self.name!r}: pattern is no expression: {error}") from None
            if groups == 0:
                raise ValueError(f"{self.name!r}: pattern has no group")
        return self

    def _part(self, text: str) -> str | None:
        """Return the value that the pattern extracts from a text, or None without a match."""
        part: str | None = text
        if self.pattern is not None:
            if len(text) > _LONGEST_SEARCHED:
                raise InvalidFeature(
                    self.name,
                    f"is a text of {len(text)} characters; a value is looked for in at most "
                    f"{_LONGEST_SEARCHED}",
                )
            match = re.search(self.pattern, text)
            part = match and match.group(1)
        return (part or "").strip() or None


class NumericEncoding(_Patterned):
    """A number: standardised and clipped to 10 deviations, then its nearness to each centre.

    The nearness to a centre c is exp(-((x - c) / spread)^2 / 2), normalised to sum to 1 over the
    centres. A missing value is all zeros.
    """

    kind: Literal["numeric"] = "numeric"
    mean: float
    std: Annotated[float, Field(gt=0)]
    centres: tuple[float, ...] = ()
    spread: Annotated[float, Field(gt=0)] = 1.0

    @property
    def width(self) -> int:
        """How many columns the encoding has."""
        return 1 + len(self.centres)

    def read(self, value: Value) -> Value | None:
        """Return a number as it is, and a text as the number in it; None if it has none."""
        if not isinstance(value, str):
            return value
        part = self._part(value)
        try:
            return None if part is None else float(part)
        except ValueError:
            raise InvalidFeature(self.name, f"takes a number, not {_shown(value)}") from None

    def encode(self, values: Sequence[TableValue | None], unknown: Counter[str]) -> Matrix:
        """Return a row for each value: (N, width)."""
        numbers = np.array([math.nan if value is None else self._number(value) for value in values])
        there = ~np.isnan(numbers)
        encoded = np.zeros((len(values), self.width), np.float32)
        known = numbers[there]
        scaled = np.clip((known - self.mean) / self.std, -_LARGEST, _LARGEST)
        encoded[there, 0] = scaled
        if self.centres:
            # clipped a hundred spreads beyond the outermost centres, so that no square overflows
            low, high = min(self.centres), max(self.centres)
            held = np.clip(known, low - 100 * self.spread, high + 100 * self.spread)
            near = -0.5 * ((held[:, None] - np.array(self.centres)) / self.spread) ** 2
            weights = np.exp(near - near.max(axis=1, keepdims=True, initial=-np.inf))
            encoded[there, 1:] = weights / weights.sum(axis=1, keepdims=True)
        return encoded

    def _number(self, value: TableValue) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidFeature(self.name, f"takes a number, not {_shown(value)}")
        if not math.isfinite(value):
            raise InvalidFeature(self.name, f"is {value}; it must be finite")
        return float(value)


class CategoricalEncoding(_Patterned):
    """One text or several: each category has a column with its weight; all zeros for none.

    With `buckets`, a text's column is its crc32 (of UTF-8) modulo the number of buckets, so no text
    is unknown. Otherwise texts that training has not seen are counted as unknown and left out.
    A row of `tags` is scaled to Euclidean length 1.
    """

    kind: Literal["categorical", "multi", "tags"]
    categories: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    """By category, such as the inverse document frequency of tags; all 1 if empty."""
    buckets: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _fits(self) -> "CategoricalEncoding":
        if len(set(self.categories)) != len(self.categories):
            raise ValueError(f"{self.kind} {self.name!r}: a category stands twice")
        if len(self.weights) not in (0, self.width):
            raise ValueError(f"{self.kind} {self.name!r}: {len(self.weights)} weights")
        return self

    @property
    def width(self) -> int:
        """How many columns the encoding has."""
        return self.buckets or len(self.categories)

    def read(self, value: Value) -> Value | None:
        """Return texts without outer spaces, or what the pattern extracts from a single text."""
        if isinstance(value, str):
            return self._part(value) if self.kind == "categorical" else value
        if isinstance(value, int | float):
            return value
        trimmed = [text.strip() if isinstance(text, str) else text for text in value]
        return [text for text in trimmed if text != ""]  # type: ignore[return-value]

    def encode(self, values: Sequence[TableValue | None], unknown: Counter[str]) -> Matrix:
        """Return a row for each value: (N, width); count the unknown texts by column."""
        encoded = np.zeros((len(values), self.width), np.float32)
        places = {text: place for place, text in enumerate(self.categories)}
        for row, value in enumerate(values):
            for text in self._texts(value):
                if self.buckets:
                    place = zlib.crc32(text.encode()) % self.buckets
                elif text in places:
                    place = places[text]
                else:
                    unknown[self.name] += 1
                    continue
                encoded[row, place] = self.weights[place] if self.weights else 1.0
        if self.kind == "tags":
            lengths = np.linalg.norm(encoded, axis=1, keepdims=True)
            encoded /= np.maximum(lengths, np.float32(1e-6))
        return encoded

    def _texts(self, value: TableValue | None) -> Sequence[str]:
        if value is None:
            return ()
        if self.kind == "categorical":
            if not isinstance(value, str):
                raise InvalidFeature(self.name, f"takes one text, not {_shown(value)}")
            return (value,)
        texts = [] if isinstance(value, str | int | float) else [*value]
        if isinstance(value, str | int | float) or not all(isinstance(text, str) for text in texts):
            raise InvalidFeature(self.name, f"takes a list of texts, not {_shown(value)}")
        # people write the same tag in different cases
        return [str(text).strip().lower() if self.kind == "tags" else str(text) for text in texts]


class VectorEncoding(Part):
    """A vector of `size` numbers, such as a text encoder's output: W = size.

    With `mean` and `std` each number is standardised and clipped to 10 deviations; without, the
    vector is scaled to Euclidean length 1. A missing vector is all zeros.
    """

    kind: Literal["vector"] = "vector"
    name: str
    size: Annotated[int, Field(ge=1)]
    mean: tuple[float, ...] = ()
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Both (W,), or both empty."""

    @model_validator(mode="after")
    def _fits(self) -> "VectorEncoding":
        if (len(self.mean), len(self.std)) not in ((0, 0), (self.size, self.size)):
            raise ValueError(f"vector {self.name!r}: mean and std do not have {self.size} numbers")
        return self

    @property
    def width(self) -> int:
        """How many columns the encoding has."""
        return self.size

    def read(self, value: Value) -> Value | None:
        """Return the value as it is."""
        return value

    def encode(self, values: Sequence[TableValue | None], unknown: Counter[str]) -> Matrix:
        """Return a row for each value: (N, width)."""
        there = np.array([value is not None for value in values], bool)
        encoded = np.zeros((len(values), self.size), np.float32)
        if not there.any():
            return encoded
        vectors = np.stack([self._numbers(value) for value in values if value is not None])
        if self.mean:
            scaled = (vectors - np.array(self.mean)) / np.array(self.std)
            encoded[there] = np.clip(scaled, -_LARGEST, _LARGEST)
        else:
            # scaled by the largest number first, so that no square overflows
            vectors /= np.maximum(np.abs(vectors).max(axis=1, keepdims=True), _TINY)
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            encoded[there] = vectors / np.maximum(lengths, 1e-6)
        return encoded

    def _numbers(self, value: TableValue) -> NDArray[np.float64]:
        listed = isinstance(value, np.ndarray) or (
            isinstance(value, Sequence)
            and not isinstance(value, str)
            and all(isinstance(x, int | float) and not isinstance(x, bool) for x in value)
        )
        if not listed:
            raise InvalidFeature(self.name, f"takes {self.size} numbers, not {_shown(value)}")
        numbers = np.array(value, np.float64)
        if numbers.shape != (self.size,):
            raise InvalidFeature(self.name, f"takes {self.size} numbers, not {numbers.size}")
        if not np.isfinite(numbers).all():
            place = int(np.flatnonzero(~np.isfinite(numbers))[0])
            raise InvalidFeature(
                self.name, f"has {numbers[place]} as number {place + 1}; each must be finite"
            )
        return numbers


Encoding = Annotated[
    NumericEncoding | CategoricalEncoding | VectorEncoding, Field(discriminator="kind")
]


class FeatureEncoder(Part):
    """How raw features of users, or of items, become a vector: the encoded columns side by side."""

    columns: tuple[Encoding, ...] = ()

    @property
    def width(self) -> int:
        """F_u or F_i."""
        return sum(column.width for column in self.columns)

    def encode(
        self, table: Mapping[str, Sequence[TableValue | None]], unknown: Counter[str]
    ) -> Matrix:
        """Return a row for each node of a table: column name to values (N,) -> (N, width).

        None is a missing value. `unknown` counts the texts without a category, by column. Raises
        InvalidFeature for a value of the wrong type and a column that is not encoded.
        """
        names = [column.name for column in self.columns]
        for name in table:
            if name not in names:
                known = ", ".join(names) or "none"
                raise InvalidFeature(name, f"is not a feature of this version; it has: {known}")
        count = len(next(iter(table.values()))) if table else 0
        blocks = [
            column.encode(table.get(column.name, [None] * count), unknown)
            for column in self.columns
        ]
        return np.concatenate([np.zeros((count, 0), np.float32), *blocks], axis=1)

    def encode_one(self, values: Mapping[str, Value], unknown: Counter[str]) -> Matrix:
        """Return the row of one node: (1, width); columns that are not given are missing values.

        The values are raw, as in a data file; `encode` takes values that `read` returned.
        """
        if not values:
            return np.zeros((1, self.width), np.float32)
        readers = {column.name: column.read for column in self.columns}
        read = {
            name: [readers[name](value) if name in readers else value]
            for name, value in values.items()
        }
        return self.encode(read, unknown)


class NodeFeatures(Part):
    """The encoders of users' and of items' features."""

    users: FeatureEncoder = FeatureEncoder()
    items: FeatureEncoder = FeatureEncoder()

    @property
    def width(self) -> int:
        """F: the width of a node's input."""
        return self.users.width + self.items.width + 2

    def user_inputs(self, own: Matrix, around: Matrix | None = None) -> Matrix:
        """Return the inputs of users: own (N, F_u), means over their items (N, F_i) -> (N, F)."""
        around = np.zeros((len(own), self.items.width), np.float32) if around is None else around
        return np.concatenate([own, around, _flags(len(own), 1, 0)], axis=1)

    def item_inputs(self, own: Matrix, around: Matrix | None = None) -> Matrix:
        """Return the inputs of items: own (N, F_i), means over their users (N, F_u) -> (N, F)."""
        around = np.zeros((len(own), self.users.width), np.float32) if around is None else around
        return np.concatenate([around, own, _flags(len(own), 0, 1)], axis=1)


def _flags(count: int, user: float, item: float) -> Matrix:
    return np.tile(np.array([user, item], np.float32), (count, 1))


def _shown(value: object) -> str:
    return f"{value!r:.60}"
