"""What the columns of a table are, by the names in use and by what stands in them."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import polars as pl

from gnnrec_training.data.ids import clean, is_missing
from gnnrec_training.data.moments import Clock, Unit
from gnnrec_training.data.tables import Table
from gnnrec_training.errors import InvalidData

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
_FORMS = (
    "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d/%m/%Y", "%d/%m/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S", "%m/%d/%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%Y/%m/%d",
    "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%d-%m-%Y", "%d-%m-%Y %H:%M:%S", "%d %b %Y",
    "%d %B %Y", "%b %d, %Y", "%a %b %d %H:%M:%S %z %Y",
)  # fmt: skip


@dataclass
class Interacting:
    """The columns of a table of interactions."""

    user: str
    item: str
    weight: str | None = None
    is_rating: bool = False
    time: str | None = None
    time_format: str | None = None
    unit: Unit | None = None
    why: dict[str, str] = field(default_factory=dict)
    """For each of them, how it was found."""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def by_name(
    columns: Iterable[str], names: tuple[str, ...], but: Collection[str] = ()
) -> str | None:
    """Return the column whose name stands first among those in use, None where none does."""
    found = {_plain(column): column for column in columns if column not in but}
    return next((found[name] for name in names if name in found), None)


def interacting(table: Table) -> Interacting | None:
    """Return the columns of interactions, None for a table that has no users and items."""
    columns = [each for each in table.columns if not table.rows[each].dtype.is_nested()]
    user = by_name(columns, _USERS)
    item = by_name(columns, _ITEMS, {user} if user else ())
    why = {"user": "by its name", "item": "by its name"}
    if user is None or item is None:
        guessed = _by_content(table, columns, user, item)
        if guessed is None:
            return None
        user, item, why = guessed
    found = Interacting(user, item, why=why)
    taken = {user, item}
    _find_time(table, [each for each in columns if each not in taken], found)
    taken |= {found.time} if found.time else set()
    _find_weight(table, [each for each in columns if each not in taken], found)
    return found


def id_column(table: Table, name: str, known: pl.Series, side: str) -> tuple[str, float] | None:
    """Return the column with the ids of a table of nodes, and its share of the `known` ids.

    `name`: what the interactions call it. None for a table of something else, or with several rows
    a node: numbers of users and of items are often the same, so names count before content.
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


def tags_column(table: Table, name: str) -> tuple[str, str] | None:
    """Return the columns of items and of tags, of a table with several rows an item."""
    own = by_name(table.columns, (_plain(name), *_ITEMS))
    tag = by_name(table.columns, _TAGS, {own} if own else ())
    return (own, tag) if own is not None and tag is not None else None


def title_column(table: Table, but: Collection[str]) -> str | None:
    """Return the column of titles."""
    return by_name(table.columns, _TITLES, but)


@dataclass(frozen=True)
class Feature:
    """What a column of a table of nodes could be to a model, and how that was seen."""

    column: str
    kind: str
    separator: str | None
    why: str


def features(table: Table, but: Collection[str]) -> list[Feature]:
    """Return what the columns of a table tell of its nodes; texts that tell each apart are none."""
    found = []
    for column in table.columns:
        if column in but:
            continue
        values = table.rows[column]
        if isinstance(values.dtype, pl.List):
            found.append(Feature(column, "multi", None, "lists of texts"))
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
            found.append(Feature(column, kind, None, f"{distinct} different numbers"))
            continue
        separator = _separator_of(texts, table.is_sequence(column))
        if separator is not None:
            found.append(Feature(column, "multi", separator, f"texts with {separator!r} between"))
        elif distinct <= min(_MOST_CATEGORIES, len(texts) // 2):
            found.append(Feature(column, "categorical", None, f"{distinct} different texts"))
    return found


def _separator_of(texts: pl.Series, is_sequence: bool) -> str | None:
    """Return what stands between several texts of one value."""
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
    """Find users and items among columns whose values stand several times: two, and no more."""
    candidates = []
    for column in columns:
        if column in (user, item):
            continue
        values = table.rows[column]
        if values.dtype.is_float() or by_name([column], (*_TIMES, *_RATINGS, *_COUNTS, *_TITLES)):
            continue
        distinct = values.n_unique()
        if 5 <= distinct <= 0.8 * len(values) and not _are_moments(table, column):
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


def _are_moments(table: Table, column: str) -> bool:
    clock = Clock(column)
    try:
        clock.read(table)
    except InvalidData:
        return False
    return clock.unit != "order"


def _find_time(table: Table, columns: list[str], found: Interacting) -> None:
    named = by_name(columns, _TIMES)
    for column in [named] if named else columns:
        clock = Clock(column)
        try:
            clock.read(table)
        except InvalidData:
            form = _form_of(table, column)
            if form is None:
                continue
            found.time, found.time_format, found.unit = column, form, "moments"
        else:
            if clock.unit == "order" and column != named:
                continue
            found.time, found.unit = column, clock.unit
        found.why["time"] = "by its name" if column == named else "its values are moments"
        return


def _form_of(table: Table, column: str) -> str | None:
    """Return the only form that all moments of a column are written in."""
    forms = []
    for form in _FORMS:
        try:
            Clock(column, form).read(table)
        except InvalidData:
            continue
        forms.append(form)
    return forms[0] if len(forms) == 1 else None


def _find_weight(table: Table, columns: list[str], found: Interacting) -> None:
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
    """Return the share of rows that have no id in a column."""
    return _share(is_missing(clean(table.id_texts(column))))


def _share(which: pl.Series) -> float:
    """Return how large a share of truth values is true; 0 of none."""
    return float(which.sum()) / max(1, len(which))
