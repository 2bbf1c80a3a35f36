"""Which columns of a table are users, items, times, weights, titles and features.

Found by the names that such columns commonly have, and by their values.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import polars as pl

from gnnrec_training.data.ids import clean, is_missing
from gnnrec_training.data.moments import TimeReader, Unit
from gnnrec_training.data.tables.table import Table
from gnnrec_training.errors import InvalidData

# Names of columns in lower case and without signs, likelier ones first.
_USERS = (
    "userid", "user", "uid", "customerid", "customer", "custid", "clientid", "client", "memberid",
    "member", "visitorid", "visitor", "personid", "person", "accountid", "account", "buyerid",
    "buyer", "reviewerid", "reviewer", "readerid", "listenerid", "playerid", "patientid",
    "studentid", "learnerid", "employeeid", "useremail", "customeremail", "email", "username",
    "sessionid",
)  # fmt: skip
_ITEMS = (
    "itemid", "item", "iid", "productid", "product", "prodid", "sku", "articleid", "article",
    "movieid", "movie", "filmid", "bookid", "book", "isbn", "asin", "parentasin", "courseid",
    "course", "artistid", "artist", "songid", "trackid", "track", "albumid", "gameid", "appid",
    "businessid", "venueid", "placeid", "poiid", "locationid", "restaurantid", "recipeid",
    "newsid", "videoid", "contentid", "listingid", "stockcode", "variantid", "propertyid",
)  # fmt: skip
_TIMES = (
    "timestamp", "time", "datetime", "date", "ts", "eventtime", "createdat", "created", "boughtat",
    "purchasedat", "orderedat", "orderdate", "purchasedate", "invoicedate", "viewedat", "playedat",
    "ratedat", "reviewedat", "visitedat", "enrolledat", "unixreviewtime", "reviewtime",
    "eventdate", "t", "at", "when",
)  # fmt: skip
_RATINGS = ("rating", "ratings", "stars", "score", "overall", "grade", "ratingvalue", "rate")
_COUNTS = (
    "plays", "playcount", "playcounts", "count", "counts", "quantity", "qty", "weight", "clicks",
    "views", "visits", "times", "frequency", "freq", "listens", "units", "hours", "seconds",
    "duration", "playtime", "timeviewed",
)  # fmt: skip
_TITLES = (
    "title", "name", "itemname", "productname", "producttitle", "movietitle", "booktitle",
    "itemtitle", "coursename", "articletitle", "artistname", "trackname", "headline", "label",
    "description",
)  # fmt: skip

_TAGS = ("tag", "tags", "keyword", "keywords", "genre", "genres", "category", "categories", "topic")

_MOST_CATEGORIES = 200
"""A column with more different texts is not offered as a feature."""
# Forms of times besides ISO 8601.
_TIME_FORMATS = (
    "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d/%m/%Y", "%d/%m/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S", "%m/%d/%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%Y/%m/%d",
    "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%d-%m-%Y", "%d-%m-%Y %H:%M:%S", "%d %b %Y",
    "%d %B %Y", "%b %d, %Y", "%a %b %d %H:%M:%S %z %Y",
)  # fmt: skip


@dataclass
class InteractionColumns:
    """What the columns of a table of interactions are, by name; None for what it does not have."""

    user: str
    item: str
    weight: str | None = None
    is_rating: bool = False
    """Whether the weight is a rating, of which low ones mean dislike."""
    time: str | None = None
    time_format: str | None = None
    """How times are written, in the codes of strftime; None for numbers and ISO 8601."""
    unit: Unit | None = None
    """What the values of the time column are."""
    why: dict[str, str] = field(default_factory=dict)
    """For "user", "item", "weight" and "time": how the column was found, in words."""


def _plain(name: str) -> str:
    """Return a name in lower case without signs, so that user_id and UserID are the same."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def by_name(
    columns: Iterable[str], names: tuple[str, ...], but: Collection[str] = ()
) -> str | None:
    """Return the column whose plain name comes first in `names`, None if none is there.

    Columns in `but` are passed over.
    """
    found = {_plain(column): column for column in columns if column not in but}
    return next((found[name] for name in names if name in found), None)


def find_interaction_columns(table: Table) -> InteractionColumns | None:
    """Return the columns of a table of interactions, None for a table without users and items."""
    columns = [column for column in table.columns if not table.rows[column].dtype.is_nested()]
    user = by_name(columns, _USERS)
    item = by_name(columns, _ITEMS, {user} if user else ())
    why = {"user": "by its name", "item": "by its name"}
    if user is None or item is None:
        guessed = _by_content(table, columns, user, item)
        if guessed is None:
            return None
        user, item, why = guessed
    found = InteractionColumns(user, item, why=why)
    taken = {user, item}
    _find_time(table, [column for column in columns if column not in taken], found)
    taken |= {found.time} if found.time else set()
    _find_weight(table, [column for column in columns if column not in taken], found)
    return found


def find_id_column(
    table: Table, name: str, known: pl.Series, side: str
) -> tuple[str, float] | None:
    """Return the column with the ids of a table about users or items, and a share.

    The share is that of the column's rows whose id is in `known`, the ids with interactions.
    `name`: the id column of the interactions; `side`: "users" or "items". None if no column has
    different ids in all rows, or if names say that the table is about the other side.

    Names go before values, because the ids of users and of items are often the same numbers: a
    column found by its name is returned even if another one has a larger share.
    """
    ours, theirs = (_USERS, _ITEMS) if side == "users" else (_ITEMS, _USERS)
    own = by_name(table.columns, (_plain(name), *ours))
    if own is None and by_name(table.columns, theirs) is not None:
        return None
    best: tuple[str, float] | None = None
    for column in [own] if own else table.columns:
        try:
            ids = clean(table.id_texts(column))
        except InvalidData:
            continue
        share = _share(known.is_in(ids.implode()))
        if not ids.is_duplicated().any() and (best is None or share > best[1]):
            best = column, share
    return best


def find_tags_columns(table: Table, name: str) -> tuple[str, str] | None:
    """Return the item column and the tag column of a table with a row for each tag of an item.

    `name`: the item column of the interactions. None if the table lacks one of them.
    """
    own = by_name(table.columns, (_plain(name), *_ITEMS))
    tag = by_name(table.columns, _TAGS, {own} if own else ())
    return (own, tag) if own is not None and tag is not None else None


def find_title_column(table: Table, but: Collection[str]) -> str | None:
    """Return the column of titles, None without one; columns in `but` are passed over."""
    return by_name(table.columns, _TITLES, but)


@dataclass(frozen=True)
class FeatureColumn:
    """A column that models could learn from."""

    column: str
    kind: str
    """The kind of feature, as NodeFeatureConfig names it."""
    separator: str | None
    """The text between several texts of one value; None for lists and for single values."""
    why: str
    """What was seen in the column, in words."""


def find_feature_columns(table: Table, but: Collection[str]) -> list[FeatureColumn]:
    """Return the columns of a table about users or items that models could learn from.

    Columns in `but` are passed over, as are those with one value only, and texts of which nearly
    every row has another.
    """
    found = []
    for column in table.columns:
        if column in but:
            continue
        values = table.rows[column]
        if isinstance(values.dtype, pl.List):
            found.append(FeatureColumn(column, "multi", None, "lists of texts"))
            continue
        if values.dtype.is_nested():
            continue
        texts = table.optional_texts(column).drop_nulls()
        distinct = texts.n_unique()
        if distinct < 2:
            continue
        numbers = texts.cast(pl.Float64, strict=False)
        if not numbers.is_null().any() and not re.search(r"zip|post.?code|phone", column.lower()):
            kind = "numeric" if distinct > 12 else "categorical"
            found.append(FeatureColumn(column, kind, None, f"{distinct} different numbers"))
            continue
        separator = _separator_of(texts, table.is_sequence(column))
        if separator is not None:
            found.append(
                FeatureColumn(column, "multi", separator, f"texts with {separator!r} between")
            )
        elif distinct <= min(_MOST_CATEGORIES, len(texts) // 2):
            found.append(FeatureColumn(column, "categorical", None, f"{distinct} different texts"))
    return found


def _separator_of(texts: pl.Series, is_sequence: bool) -> str | None:
    """Return the text between several texts of one value, None where values are single texts."""
    if is_sequence:
        return " "
    for separator in ("|", ";", ","):
        has = texts.str.contains(separator, literal=True)
        parts = texts.filter(has).str.split(separator).explode().str.strip_chars()
        if _share(has) > 0.1 and parts.n_unique() <= _MOST_CATEGORIES:
            return separator
    return None


def _by_content(
    table: Table, columns: list[str], user: str | None, item: str | None
) -> tuple[str, str, dict[str, str]] | None:
    """Find the user and item columns by their values: those that repeat, but are few.

    `user`, `item`: those found by name already. None unless there are as many such columns as are
    missing, or it would be a guess. The first one is taken for the users. Returns user, item, why.
    """
    candidates = []
    for column in columns:
        if column in (user, item):
            continue
        values = table.rows[column]
        if values.dtype.is_float() or by_name([column], (*_TIMES, *_RATINGS, *_COUNTS, *_TITLES)):
            continue
        distinct = values.n_unique()
        if 5 <= distinct <= 0.8 * len(values) and not _are_times(table, column):
            candidates.append(column)
    wanted = [side for side, known in (("user", user), ("item", item)) if known is None]
    if len(candidates) != len(wanted):
        return None
    found = {"user": user, "item": item} | dict(zip(wanted, candidates, strict=True))
    why = {
        side: "the only column left whose values repeat" if side in wanted else "by its name"
        for side in found
    }
    assert found["user"] is not None
    assert found["item"] is not None
    return found["user"], found["item"], why


def _are_times(table: Table, column: str) -> bool:
    time_reader = TimeReader(column)
    try:
        time_reader.read(table)
    except InvalidData:
        return False
    return time_reader.unit != "order"


def _find_time(table: Table, columns: list[str], found: InteractionColumns) -> None:
    """Fill in the time column: by its name, or the first whose values are times."""
    named = by_name(columns, _TIMES)
    for column in [named] if named else columns:
        time_reader = TimeReader(column)
        try:
            time_reader.read(table)
        except InvalidData:
            time_format = _time_format_of(table, column)
            if time_format is None:
                continue
            found.time, found.time_format, found.unit = column, time_format, "moments"
        else:
            if time_reader.unit == "order" and column != named:
                continue
            found.time, found.unit = column, time_reader.unit
        found.why["time"] = "by its name" if column == named else "its values are moments"
        return


def _time_format_of(table: Table, column: str) -> str | None:
    """Return the format that all times of a column fit; None if that is none or several."""
    fitting = []
    for time_format in _TIME_FORMATS:
        try:
            TimeReader(column, time_format).read(table)
        except InvalidData:
            continue
        fitting.append(time_format)
    return fitting[0] if len(fitting) == 1 else None


def _find_weight(table: Table, columns: list[str], found: InteractionColumns) -> None:
    """Fill in the weight column, by its name, if all its values are numbers."""
    rating = by_name(columns, _RATINGS)
    column = rating or by_name(columns, _COUNTS)
    if column is None:
        return
    try:
        numbers = table.numbers(column)
    except InvalidData:
        return
    found.weight, found.why["weight"] = column, "by its name"
    is_small = numbers.n_unique() <= 100 and bool((numbers <= 100).all())
    found.is_rating = rating is not None and is_small


def missing_share(table: Table, column: str) -> float:
    """Return the share of rows whose id in a column is missing."""
    return _share(is_missing(clean(table.id_texts(column))))


def _share(which: pl.Series) -> float:
    """Return the share of true values; 0 if there are no values."""
    return float(which.sum()) / max(1, len(which))
