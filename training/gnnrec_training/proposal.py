"""A configuration for data that nobody has described: looked at, decided, written down with why."""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from gnnrec_training.addresses import is_url, shown
from gnnrec_training.config import Config, resolve
from gnnrec_training.config_data import Reading
from gnnrec_training.data import roles
from gnnrec_training.data.dialects import Dialect
from gnnrec_training.data.ids import clean
from gnnrec_training.data.moments import called
from gnnrec_training.data.readers import read_tables
from gnnrec_training.data.roles import Interacting
from gnnrec_training.data.tables import Table
from gnnrec_training.errors import InvalidData

_SUFFIXES = (
    ".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json", ".parquet", ".pq", ".inter", ".user",
    ".item", ".txt", ".dat", ".data",
)  # fmt: skip
_ENCODINGS = ("utf-8", "windows-1252")
_KS = (10, 20)
_LEAST_SHARE = 0.1
"""A table that knows no more of the users or items may be of anything."""


@dataclass
class _Source:
    """A file, or files of a pattern, and its first rows."""

    name: str
    table: Table
    encoding: str
    side: str = ""
    """users or items, where it was said that it tells of them."""

    @property
    def called(self) -> str:
        """What notes and errors call it."""
        return shown(self.name)

    def beside(self, folder: Path) -> str:
        """Return its name as a configuration in a folder writes it."""
        if is_url(self.name) or Path(self.name).is_absolute():
            return self.name
        return Path(os.path.relpath(self.name, folder)).as_posix()


@dataclass
class Proposal:
    """A configuration as a commented TOML text."""

    text: str
    beside: Path
    """What its relative paths start from."""
    notes: list[str] = field(default_factory=list)
    """What was found, in sentences."""

    @property
    def config(self) -> Config:
        """The configuration."""
        return resolve(tomllib.loads(self.text), "the configuration for these data")


def propose(
    data: Sequence[str], beside: Path, *, name: str = "", users: str = "", items: str = ""
) -> Proposal:
    """Look at files, patterns or folders, and return a configuration that fits them.

    Its paths start from the folder `beside`, where it is to stand. `name`: what it calls the model,
    by the data if not given; `users`, `items`: the table of what is known of them, where that is
    not to be found out. Raises InvalidData where no table has users and items, with what to name.
    """
    sources = [_look(each) for each in _names(data)]
    told = [
        replace(_look(each), side=side)
        for side, each in (("users", users), ("items", items))
        if each
    ]
    found = [(each, roles.interacting(each.table)) for each in sources if not each.table.is_pairs]
    with_both = [(each, columns) for each, columns in found if columns is not None]
    pairs = [each for each in sources if each.table.is_pairs]
    if not with_both and pairs:
        if told:
            raise InvalidData(
                f"{pairs[0].called} is in LightGCN's format, and {told[0].called} goes with a "
                'table; write a configuration with data.format = "lightgcn"'
            )
        return _of_pairs(pairs, beside, name)
    if not with_both:
        seen = "; ".join(f"{each.called}: {', '.join(each.table.columns[:12])}" for each in sources)
        raise InvalidData(
            "no table has a column of users and one of items that can be told by names or content "
            f"({seen}); write a configuration with data.user_column and data.item_column"
        )
    # the one with the most rows is the interactions: others may be tags, say
    source, columns = max(with_both, key=lambda each: each[0].table.rows.height)
    others = [each for each in sources if each is not source and not each.table.is_pairs]
    return _Writer(source, columns, [*told, *others], beside, name).proposal()


def _names(data: Sequence[str]) -> list[str]:
    """Return the files and patterns that are meant; a folder means all tables in it."""
    names: list[str] = []
    for each in data:
        path = Path(each)
        if is_url(each) or not path.is_dir():
            names.append(each)
            continue
        files = sorted(file for file in path.iterdir() if _is_table(file))
        parts = [file for file in files if re.match(r"part[-_]?\d", file.name)]
        if parts and len(parts) == len(files):  # as Spark writes one table
            names.append(str(path / f"part*{parts[0].suffix}"))
        else:
            names += map(str, files)
        if not files:
            raise InvalidData(f"{each} is a folder without tables; name files")
    return names


def _is_table(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    named = bool(suffixes) and suffixes[-1] in _SUFFIXES
    return path.is_file() and named and not path.name.lower().startswith(("readme", ".", "_"))


def _look(name: str) -> _Source:
    """Read the first rows of a file."""
    for encoding in _ENCODINGS:
        try:
            table = next(iter(read_tables(name, reading=_reading(encoding))))
        except InvalidData as error:
            if "is not UTF-8" in str(error) and encoding == _ENCODINGS[0]:
                continue
            raise
        if any("\ufffd" in column for column in table.columns):
            continue
        return _Source(name, _named(table, name, encoding), encoding)
    raise InvalidData(f"{name} is not UTF-8; write a configuration with data.encoding")


def _reading(encoding: str, header: bool | None = None) -> Reading:
    return Reading(encoding=encoding, header=header)


def _named(table: Table, name: str, encoding: str) -> Table:
    """Return a table; one whose first line is no line of names is read again without."""
    dialect = table.dialect
    if dialect is None or not dialect.header or not _is_data(dialect):
        return table
    return next(iter(read_tables(name, reading=_reading(encoding, header=False))))


def _is_data(dialect: Dialect) -> bool:
    """Tell whether a first line has numbers where names would stand."""
    numbers = [
        bool(re.fullmatch(r"[-+]?\d+([.,]\d+)?( \(column \d+\))?", each))
        for each in dialect.columns
    ]
    return sum(numbers) >= 2 or all(numbers)


def _of_pairs(sources: list[_Source], beside: Path, name: str) -> Proposal:
    """Propose for LightGCN's format: train and test by their names, or one file."""
    by_role = {"test": [each for each in sources if "test" in Path(each.name).name.lower()]}
    train = [each for each in sources if each not in by_role["test"]]
    if len(train) != 1 or len(by_role["test"]) > 1:
        names = ", ".join(each.called for each in sources)
        raise InvalidData(f"which of {names} is to be trained on? name one, and one called test")
    lines = [_key("name", name or _slug(train[0].name)), "", "[data]"]
    lines.append(_key("interactions", train[0].beside(beside)))
    if by_role["test"]:
        test = by_role["test"][0].beside(beside)
        lines += [_key("test", test), "", "[split]", 'method = "given"']
    lines += _models(10_000)
    note = f"{train[0].called}: LightGCN's format, a user and their items a line"
    return Proposal("\n".join(lines) + "\n", beside, [note])


class _Writer:
    """Writes the configuration of tables with names."""

    def __init__(
        self,
        source: _Source,
        columns: Interacting,
        others: list[_Source],
        beside: Path,
        name: str,
    ) -> None:
        self._source, self._columns, self._others = source, columns, others
        self._beside = beside
        self._name = name or _slug(source.name)
        self._notes: list[str] = []

    def proposal(self) -> Proposal:
        lines = [_key("name", self._name), "", *self._data()]
        lines += [line for side in ("users", "items") for line in self._nodes(side)]
        for other in self._others:
            if other.side:
                raise InvalidData(
                    f"{other.called} has no column of the ids of {other.side}, each once, that "
                    f"interactions have in {self._source.called} "
                    f"({', '.join(other.table.columns[:12])})"
                )
        lines += self._split()
        items = clean(self._source.table.id_texts(self._columns.item)).n_unique()
        lines += _models(items)
        return Proposal("\n".join(lines) + "\n", self._beside, self._notes)

    def _data(self) -> Iterator[str]:
        source, columns = self._source, self._columns
        table = source.table
        yield "[data]"
        yield _key("interactions", source.beside(self._beside))
        if source.encoding != "utf-8":
            yield _key("encoding", source.encoding, "it is not UTF-8")
        if table.dialect is not None and not table.dialect.header:
            yield "header = false".ljust(36) + "# its first line is data; columns go by number"
        yield _key("user_column", columns.user, columns.why["user"])
        yield _key("item_column", columns.item, columns.why["item"])
        self._notes.append(
            f"{source.called}: users in {columns.user!r}, items in {columns.item!r} "
            f"({columns.why['user']})"
        )
        if columns.time is not None:
            unit = "" if columns.unit is None else called(columns.unit)
            yield _key("time_column", columns.time, f"{columns.why['time']}; {unit}")
            self._notes.append(f"moments in {columns.time!r}: {unit}")
        if columns.time_format is not None:
            yield _key("time_format", columns.time_format, "the only form that all are written in")
        shares = [roles.missing_share(table, each) for each in (columns.user, columns.item)]
        if any(shares):
            note = f"{max(shares):.1%} of the first {table.rows.height:,} rows have no id"
            yield _key("missing_ids", "drop", note)
            self._notes.append(f"{note}: they are left out")
        yield from self._weights()

    def _weights(self) -> Iterator[str]:
        columns, table = self._columns, self._source.table
        if columns.weight is None:
            yield _key("duplicates", "sum", "a pair that stands twice counts twice")
            return
        numbers = table.numbers(columns.weight)
        least, most = float(numbers.min()), float(numbers.max())  # type: ignore[arg-type]
        yield _key(
            "weight_column", columns.weight, f"{columns.why['weight']}; {least:g} to {most:g}"
        )
        if columns.is_rating and least < most:
            middle = _middle(numbers)
            yield (
                f"min_weight = {middle:g}".ljust(36)
                + "# lower ratings are seen and not recommended"
            )
            yield _key("duplicates", "last", "a later rating replaces an earlier one")
            self._notes.append(
                f"ratings in {columns.weight!r}: {middle:g} and more are interactions, lower ones "
                "are seen and not recommended"
            )
            return
        if least <= 0:
            yield "min_weight = 1e-30".ljust(36) + "# rows of 0 and less are no interactions"
        yield _key("duplicates", "sum", "weights of a pair that stands twice add up")
        self._notes.append(f"weights in {columns.weight!r}, from {least:g} to {most:g}")

    def _nodes(self, side: str) -> Iterator[str]:
        """Write the table about users or items, the one that knows the most of them."""
        columns = self._columns
        column = columns.user if side == "users" else columns.item
        known = clean(self._source.table.id_texts(column)).unique()
        best: tuple[_Source, str, float] | None = None
        named = [other for other in self._others if other.side == side]
        for other in named or self._others:
            if other.side not in ("", side) or other.table.is_pairs:
                continue
            found = roles.id_column(other.table, column, known, side)
            least = 0.0 if named else _LEAST_SHARE
            if found is not None and found[1] > (best[2] if best else least):
                best = other, *found
        if best is None:
            return
        other, id_column, share = best
        self._others.remove(other)
        title = roles.title_column(other.table, {id_column}) if side == "items" else None
        found_features = roles.features(other.table, {id_column, *([title] if title else [])})
        note = f"{other.called}: {side} by {id_column!r}, {share:.0%} of those with interactions"
        tagged = self._tagged(column) if side == "items" else None
        if side == "users" and not found_features:
            self._notes.append(f"{note}; it tells nothing more, so it is left out")
            return
        yield ""
        yield f"[data.{side}]"
        file = other.beside(self._beside)
        yield _key("file", file, f"it has {share:.0%} of the {side} with interactions")
        if other.encoding != "utf-8":
            yield _key("encoding", other.encoding)
        if other.table.dialect is not None and not other.table.dialect.header:
            yield "header = false"
        yield _key("id_column", id_column)
        if title is not None:
            yield _key("title_column", title)
        self._notes.append(note + (f", titles in {title!r}" if title else ""))
        for each in found_features:
            yield ""
            yield f"[[data.{side}.features]]".ljust(36) + f"# {each.why}"
            yield _key("name", each.column)
            yield _key("kind", each.kind)
            if each.separator not in (None, "|"):
                yield _key("separator", each.separator)
        if tagged is not None:
            source, owner, tag = tagged
            yield ""
            yield "[[data.items.features]]".ljust(36) + "# one text a row, rare ones counting more"
            file = source.beside(self._beside)
            yield from (_key("name", tag), _key("kind", "tags"), _key("file", file))
            yield _key("id_column", owner)
            yield "min_count = 2"
            self._notes.append(f"{source.called}: {tag!r} of items")
        if found_features:
            told = ", ".join(f"{each.column} ({each.kind})" for each in found_features)
            self._notes.append(f"what is known of {side}: {told}")

    def _tagged(self, item: str) -> tuple[_Source, str, str] | None:
        """Return a table with several texts an item, and its columns."""
        for other in self._others:
            found = roles.tags_column(other.table, item)
            if found is not None and not other.side:
                self._others.remove(other)
                return other, *found
        return None

    def _split(self) -> Iterator[str]:
        yield ""
        yield "[split]"
        users = clean(self._source.table.id_texts(self._columns.user))
        median = float(np.median(users.value_counts()["count"].to_numpy()))
        has_moments = self._columns.time is not None and median >= 3
        if has_moments:
            yield _key("method", "leave_last_out", "each user's last interaction is to be foreseen")
        else:
            yield _key("method", "random", "a fifth of each user's interactions is to be foreseen")


def _models(items: int) -> list[str]:
    """Return the model that is solved in seconds, and how it is measured."""
    width = int(min(64, max(2, items // 4)))
    ks = [k for k in _KS if k <= items] or [items]
    return [
        "",
        "[spectral]".ljust(36) + "# in closed form: seconds",
        f"embedding_dim = {width}",
        "",
        "[evaluation]",
        f"k = {ks}",
    ]


def _middle(ratings: pl.Series) -> float:
    """Return the least rating in the upper half of the scale."""
    middle = (float(ratings.min()) + float(ratings.max())) / 2  # type: ignore[arg-type]
    return float(ratings.filter(ratings >= middle).min())  # type: ignore[arg-type]


def _slug(name: str) -> str:
    """Return a model's name from a file's."""
    stem = Path(name.rstrip("/")).name
    stem = stem.partition(".")[0] or stem
    if re.fullmatch(r"(train|data|interactions|ratings|events|part.*|\W*)", stem, re.IGNORECASE):
        stem = Path(name).absolute().parent.name or stem
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:60]
    return slug or "model"


def _key(key: str, value: str, why: str = "") -> str:
    """Return a line of TOML, with why beside."""
    # a text of JSON is one of TOML, but for this character
    escaped = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    line = f"{key} = {escaped}"
    return f"{line:<34}  # {why}" if why else line
