"""Texts from columns of bytes, as Parquet files and databases have them."""

import polars as pl

_UUID_PARTS = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
"""Where the parts of a UUID's text begin among its hexadecimal digits, and how long they are."""


def texts_of_bytes(values: pl.Series) -> pl.Series:
    """Return a column of bytes as texts (N,), null where a value is null.

    If all values are UTF-8 without control characters, they are read as that. If not, values of 16
    bytes are UUIDs and become their usual text; the other values are read as UTF-8 if all of them
    are, and become hexadecimal digits if not.
    """
    texts = _decoded_utf8(values)
    plain = texts.is_not_null() & ~texts.str.contains(r"[\x00-\x1f\x7f-\x{9f}]")
    if (plain | values.is_null()).all():
        return texts
    is_uuid = values.bin.size() == 16
    digits = values.bin.encode("hex")
    parts = [pl.col(values.name).str.slice(*part) for part in _UUID_PARTS]
    joined = digits.to_frame().select(pl.concat_str(parts, separator="-")).to_series()
    if is_uuid.all():
        return joined
    uuids = joined.zip_with(is_uuid, digits)
    others = _decoded_utf8(values.set(is_uuid, None))
    return uuids.zip_with(is_uuid | others.is_null(), others)


def _decoded_utf8(values: pl.Series) -> pl.Series:
    """Return bytes as texts if all values are UTF-8, and nulls alone if not."""
    try:
        return values.cast(pl.String)
    except pl.exceptions.PolarsError:
        return pl.Series(values.name, [None] * len(values), pl.String)
