"""A configuration for data that nobody has described, as TOML with a reason beside each choice."""

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from gnnrec_training.config import Config, resolve
from gnnrec_training.data.discovery.columns import (
    FeatureColumn,
    InteractionColumns,
    find_feature_columns,
    find_id_column,
    find_interaction_columns,
    find_tags_columns,
    find_title_column,
    missing_share,
)
from gnnrec_training.data.discovery.first_rows import NamedTable, file_names, read_first_rows
from gnnrec_training.data.ids import clean
from gnnrec_training.data.moments import unit_name
from gnnrec_training.errors import InvalidData

_LIST_LENGTHS = (10, 20)
"""evaluation.k, where there are as many items."""
_LEAST_SHARE = 0.1
"""A table with fewer of the users or items that have interactions may be about something else."""
_LEAST_TO_LEAVE_OUT = 3
"""A user's interactions of which one can be in each part of the split."""
_MOST = 0.5
"""The least share of users with so many for whom the split is by time."""
_FEW_ROWS = 100
"""With fewer rows a tenth of what is left for training may be nothing."""
_COMMENT_COLUMN = 36
"""Where comments begin in a line."""


@dataclass
class Proposal:
    """A configuration as a TOML text with comments."""

    text: str
    beside: Path
    """The folder that its relative paths start from."""
    notes: list[str] = field(default_factory=list)
    """What was found in the data, in sentences."""

    @property
    def config(self) -> Config:
        """The configuration that the text is."""
        return resolve(tomllib.loads(self.text), "the configuration for these data")


def propose(
    data: Sequence[str], beside: Path, *, name: str = "", users: str = "", items: str = ""
) -> Proposal:
    """Look at files, patterns, URLs or folders, and return a configuration that fits them.

    `beside`: the folder that the configuration will be in, from which its paths start. `name`: the
    model's name; without it, it is made from the name of the data. `users`, `items`: the table
    about them, where that is not to be found out. Raises InvalidData, with what to do, where no
    table has users and items.
    """
    tables = [read_first_rows(file) for file in file_names(data)]
    about_nodes = [
        read_first_rows(file, side) for side, file in (("users", users), ("items", items)) if file
    ]
    with_columns = [table for table in tables if not table.table.is_pairs]
    pairs = [table for table in tables if table.table.is_pairs]
    candidates = [
        (table, columns)
        for table in with_columns
        if (columns := find_interaction_columns(table.table)) is not None
    ]
    if candidates:
        # the table with the most rows has the interactions: another one may hold tags by users
        interactions, columns = max(
            candidates, key=lambda candidate: candidate[0].table.rows.height
        )
        others = [table for table in with_columns if table is not interactions]
        return _Writer(interactions, columns, [*about_nodes, *others], beside, name).proposal()
    if pairs:
        if about_nodes:
            raise InvalidData(
                f"{pairs[0].shown} is in LightGCN's format, and {about_nodes[0].shown} goes with a "
                'table; write a configuration with data.format = "lightgcn"'
            )
        return _propose_pairs(pairs, beside, name)
    seen = "; ".join(f"{table.shown}: {', '.join(table.table.columns[:12])}" for table in tables)
    raise InvalidData(
        "no table has a column of users and one of items that can be told by names or content "
        f"({seen}); write a configuration with data.user_column and data.item_column"
    )


def _propose_pairs(tables: list[NamedTable], beside: Path, name: str) -> Proposal:
    """Propose for files in LightGCN's format: one to train on, and one whose name has "test"."""
    test = [table for table in tables if "test" in Path(table.name).name.lower()]
    train = [table for table in tables if table not in test]
    if len(train) != 1 or len(test) > 1:
        names = ", ".join(table.shown for table in tables)
        raise InvalidData(f"which of {names} is to be trained on? name one, and one called test")
    lines = [_key("name", name or _model_name(train[0].name)), "", "[data]"]
    lines.append(_key("interactions", train[0].relative_to(beside)))
    if test:
        lines += [_key("test", test[0].relative_to(beside)), "", "[split]", 'method = "given"']
    lines += _models(10_000, comparable=True)
    note = f"{train[0].shown}: LightGCN's format, a user and their items a line"
    return Proposal("\n".join(lines) + "\n", beside, [note])


class _Writer:
    """Writes the configuration for a table of interactions, and tables about users and items."""

    def __init__(
        self,
        interactions: NamedTable,
        columns: InteractionColumns,
        others: list[NamedTable],
        beside: Path,
        name: str,
    ) -> None:
        self._interactions, self._columns = interactions, columns
        self._others = others
        """The tables that no section has taken yet."""
        self._beside = beside
        self._name = name or _model_name(interactions.name)
        self._notes: list[str] = []
        self._comparable = True
        """Whether [split] keeps a validation part, to choose models on."""

    def proposal(self) -> Proposal:
        lines = [_key("name", self._name), "", *self._data()]
        lines += [*self._nodes("users"), *self._nodes("items")]
        for other in self._others:
            if other.side:
                raise InvalidData(
                    f"{other.shown} has no column of the ids of {other.side}, each once, that "
                    f"interactions have in {self._interactions.shown} "
                    f"({', '.join(other.table.columns[:12])})"
                )
        lines += self._split()
        items = clean(self._interactions.table.id_texts(self._columns.item)).n_unique()
        lines += _models(items, comparable=self._comparable)
        return Proposal("\n".join(lines) + "\n", self._beside, self._notes)

    def _data(self) -> Iterator[str]:
        """Write [data] but for its tables about users and items."""
        interactions, columns = self._interactions, self._columns
        table = interactions.table
        yield "[data]"
        yield _key("interactions", interactions.relative_to(self._beside))
        if interactions.encoding != "utf-8":
            yield _key("encoding", interactions.encoding, "it is not UTF-8")
        if interactions.lacks_header:
            yield _commented("header = false", "its first line is data; columns go by number")
        yield _key("user_column", columns.user, columns.why["user"])
        yield _key("item_column", columns.item, columns.why["item"])
        self._notes.append(
            f"{interactions.shown}: users in {columns.user!r}, items in {columns.item!r} "
            f"({columns.why['user']})"
        )
        if columns.time is not None:
            unit = "" if columns.unit is None else unit_name(columns.unit)
            yield _key("time_column", columns.time, f"{columns.why['time']}; {unit}")
            self._notes.append(f"moments in {columns.time!r}: {unit}")
        if columns.time_format is not None:
            yield _key("time_format", columns.time_format, "the only form that all are written in")
        shares = [missing_share(table, column) for column in (columns.user, columns.item)]
        if any(shares):
            note = f"{max(shares):.1%} of the first {table.rows.height:,} rows have no id"
            yield _key("missing_ids", "drop", note)
            self._notes.append(f"{note}: they are left out")
        yield from self._weights()

    def _weights(self) -> Iterator[str]:
        """Write the keys about weights, and what becomes of repeated pairs."""
        columns, table = self._columns, self._interactions.table
        if columns.weight is None:
            yield _key("duplicates", "sum", "a pair that stands twice counts twice")
            return
        numbers = table.numbers(columns.weight)
        least, most = float(numbers.min()), float(numbers.max())  # type: ignore[arg-type]
        yield _key(
            "weight_column", columns.weight, f"{columns.why['weight']}; {least:g} to {most:g}"
        )
        if columns.is_rating and least < most:
            middle = _least_good_rating(numbers)
            yield _commented(
                f"min_weight = {middle:g}", "lower ratings are seen and not recommended"
            )
            yield _key("duplicates", "last", "a later rating replaces an earlier one")
            self._notes.append(
                f"ratings in {columns.weight!r}: {middle:g} and more are interactions, lower ones "
                "are seen and not recommended"
            )
            return
        if least <= 0:
            yield _commented("min_weight = 1e-30", "rows of 0 and less are no interactions")
        yield _key("duplicates", "sum", "weights of a pair that stands twice add up")
        self._notes.append(f"weights in {columns.weight!r}, from {least:g} to {most:g}")

    def _nodes(self, side: str) -> Iterator[str]:
        """Write [data.users] or [data.items], if a table is about them."""
        found = self._take_node_table(side)
        if found is None:
            return
        table, id_column, share = found
        title = find_title_column(table.table, {id_column}) if side == "items" else None
        features = find_feature_columns(table.table, {id_column, *([title] if title else [])})
        tags = self._take_tags_table() if side == "items" else None
        note = f"{table.shown}: {side} by {id_column!r}, {share:.0%} of those with interactions"
        if side == "users" and not features:
            self._notes.append(f"{note}; it tells nothing more, so it is left out")
            return
        yield ""
        yield f"[data.{side}]"
        file = table.relative_to(self._beside)
        yield _key("file", file, f"it has {share:.0%} of the {side} with interactions")
        if table.encoding != "utf-8":
            yield _key("encoding", table.encoding)
        if table.lacks_header:
            yield "header = false"
        yield _key("id_column", id_column)
        if title is not None:
            yield _key("title_column", title)
        self._notes.append(note + (f", titles in {title!r}" if title else ""))
        for feature in features:
            yield from _feature(side, feature)
        if tags is not None:
            yield from self._tags(*tags)
        if features:
            kinds = ", ".join(f"{feature.column} ({feature.kind})" for feature in features)
            self._notes.append(f"what is known of {side}: {kinds}")

    def _take_node_table(self, side: str) -> tuple[NamedTable, str, float] | None:
        """Take, of the tables left, the one that has the most of the users or items.

        Returns it with its id column and the share; None if no table has enough. One that the user
        names for this side goes before all others, and any share is enough for it.
        """
        columns = self._columns
        column = columns.user if side == "users" else columns.item
        known = clean(self._interactions.table.id_texts(column)).unique()
        named = [other for other in self._others if other.side == side]
        best: tuple[NamedTable, str, float] | None = None
        best_share = 0.0 if named else _LEAST_SHARE
        for other in named or self._others:
            if other.side not in ("", side) or other.table.is_pairs:
                continue
            found = find_id_column(other.table, column, known, side)
            if found is not None and found[1] > best_share:
                best, best_share = (other, *found), found[1]
        if best is not None:
            self._others.remove(best[0])
        return best

    def _take_tags_table(self) -> tuple[NamedTable, str, str] | None:
        """Take, of the tables left, one with a row for each tag of an item.

        Returns it with its item column and its tag column; None if there is none.
        """
        for other in self._others:
            found = find_tags_columns(other.table, self._columns.item)
            if found is not None and not other.side:
                self._others.remove(other)
                return other, *found
        return None

    def _tags(self, table: NamedTable, item_column: str, tag_column: str) -> Iterator[str]:
        """Write the tags of another table as a feature of the items."""
        yield ""
        yield _commented("[[data.items.features]]", "one text a row, rare ones counting more")
        yield _key("name", tag_column)
        yield _key("kind", "tags")
        yield _key("file", table.relative_to(self._beside))
        yield _key("id_column", item_column)
        yield "min_count = 2"
        self._notes.append(f"{table.shown}: {tag_column!r} of items")

    def _split(self) -> Iterator[str]:
        """Write [split]: by time where most users have enough interactions, else at random."""
        columns, table = self._columns, self._interactions.table
        ids = {
            side: clean(table.id_texts(column))
            for side, column in (("users", columns.user), ("items", columns.item))
        }
        counts = pl.DataFrame(ids).group_by("users").agg(pl.col("items").n_unique())["items"]
        enough = (counts >= _LEAST_TO_LEAVE_OUT).sum() / len(counts)
        share = f"{enough:.0%} of the users have {_LEAST_TO_LEAVE_OUT} interactions or more"
        yield ""
        yield "[split]"
        if columns.time is not None and enough >= _MOST:
            yield _key("method", "leave_last_out", "each user's last interaction is to be foreseen")
            self._notes.append(
                f"measured on each user's last interaction, for there are moments, and {share}"
            )
            return
        yield _key("method", "random", "a fifth of each user's interactions is to be foreseen")
        why = "there are no moments" if columns.time is None else f"only {share}"
        self._notes.append(f"measured on a random fifth of each user's interactions, for {why}")
        if table.rows.height < _FEW_ROWS:
            self._comparable = False
            yield _commented("validation = 0", "too few rows to keep more of them from training")


def _feature(side: str, feature: FeatureColumn) -> Iterator[str]:
    """Write one feature of users or items."""
    yield ""
    yield _commented(f"[[data.{side}.features]]", feature.why)
    yield _key("name", feature.column)
    yield _key("kind", feature.kind)
    if feature.separator not in (None, "|"):
        yield _key("separator", feature.separator)


def _models(items: int, *, comparable: bool) -> list[str]:
    """Write which models are trained, and how they are measured, for so many items.

    comparable: whether there is a validation part to choose models on
    """
    list_lengths = [length for length in _LIST_LENGTHS if length <= items] or [items]
    if comparable:
        models = [
            _commented("[search]", "models and settings are chosen on the validation part"),
            _commented("# minutes = 5", "how long; if not set, it follows from the data"),
        ]
    else:
        models = [_commented("[ease]", "in closed form, for there is nothing to choose models on")]
    return [
        "",
        *models,
        "",
        "[evaluation]",
        f"k = {list_lengths}",
    ]


def _least_good_rating(ratings: pl.Series) -> float:
    """Return the least rating in the upper half of the scale."""
    middle = (float(ratings.min()) + float(ratings.max())) / 2  # type: ignore[arg-type]
    return float(ratings.filter(ratings >= middle).min())  # type: ignore[arg-type]


def _model_name(file: str) -> str:
    """Return a name for the model, made from a file's or, where that says nothing, its folder's."""
    stem = Path(file.rstrip("/")).name
    stem = stem.partition(".")[0] or stem
    if re.fullmatch(r"(train|data|interactions|ratings|events|part.*|\W*)", stem, re.IGNORECASE):
        stem = Path(file).absolute().parent.name or stem
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:60]
    return name or "model"


def _key(key: str, value: str, why: str = "") -> str:
    """Return a key with a text in TOML, with a comment if `why` is given."""
    # JSON and TOML write texts alike, but JSON does not escape DEL
    escaped = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    line = f"{key} = {escaped}"
    return f"{line:<{_COMMENT_COLUMN - 2}}  # {why}" if why else line


def _commented(line: str, why: str) -> str:
    return f"{line:<{_COMMENT_COLUMN}}# {why}"
