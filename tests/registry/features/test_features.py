import math
import zlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnnrec_registry.errors import InvalidFeature
from gnnrec_registry.features.encoders import (
    CategoricalEncoding,
    Encoding,
    FeatureEncoder,
    NodeFeatures,
    NumericEncoding,
    Value,
    VectorEncoding,
)

AGE = NumericEncoding(name="age", mean=30, std=10)
YEAR = NumericEncoding(name="year", mean=2000, std=5, centres=(1990, 2000, 2010), spread=10)
LEVEL = CategoricalEncoding(kind="categorical", name="level", categories=("low", "high"))
TOPICS = CategoricalEncoding(kind="multi", name="topics", categories=("a", "b", "c"))
TAGS = CategoricalEncoding(kind="tags", name="tags", categories=("x", "y"), weights=(3.0, 4.0))
HASHED = CategoricalEncoding(kind="multi", name="hashed", buckets=7)
TEXT = VectorEncoding(name="text", size=2)
SCALED = VectorEncoding(name="scaled", size=2, mean=(1, -1), std=(2, 0.5))
ENCODER = FeatureEncoder(columns=(AGE, YEAR, LEVEL, TOPICS, TAGS, HASHED, TEXT, SCALED))


def encode(encoding: Encoding, *values: Value | None) -> tuple[list[list[float]], Counter[str]]:
    unknown: Counter[str] = Counter()
    rows = encoding.encode(values, unknown)
    assert rows.shape == (len(values), encoding.width)
    assert rows.dtype == np.float32
    return rows.tolist(), unknown


def test_a_number_is_standardised_and_held_within_ten_deviations() -> None:
    assert encode(AGE, 30, 35.0, 10, 1e9, -1e9)[0] == [[0], [0.5], [-2], [10], [-10]]


def test_a_number_is_near_its_centres() -> None:
    """At 2000 the adjacent centres are one spread away: (e^-1/2, 1, e^-1/2), normalised."""
    (row,), _ = encode(YEAR, 2000)
    near = math.exp(-0.5)
    total = 1 + 2 * near
    assert row == pytest.approx([0, near / total, 1 / total, near / total])


@given(st.floats(-1e9, 1e9))
def test_the_nearness_to_the_centres_sums_to_one(value: float) -> None:
    (row,), _ = encode(YEAR, value)
    assert sum(row[1:]) == pytest.approx(1, abs=1e-5)


def test_texts_have_a_place_each_and_unknown_ones_are_counted() -> None:
    assert encode(LEVEL, "high", "HIGH", "low") == ([[0, 1], [0, 0], [1, 0]], {"level": 1})
    assert encode(TOPICS, ["c", "a"], [], ["d", "b", "e"]) == (
        [[1, 0, 1], [0, 0, 0], [0, 1, 0]],
        {"topics": 2},
    )


def test_tags_are_weighted_to_length_one_however_they_are_written() -> None:
    """Weights 3 and 4 give a vector of length 5; a repeated tag counts once."""
    rows, unknown = encode(TAGS, [" X", "y", "x"], ["Y"], ["z"])
    assert rows == [pytest.approx([0.6, 0.8]), [0, 1], [0, 0]]
    assert unknown == {"tags": 1}


def test_hashed_texts_stand_at_their_checksum_and_none_is_unknown() -> None:
    ((row,), unknown) = encode(HASHED, ["žluť", "猫"])
    places = {zlib.crc32(text.encode()) % 7 for text in ("žluť", "猫")}
    assert {place for place, value in enumerate(row) if value} == places
    assert not unknown


def test_a_vector_is_divided_by_its_length_however_long() -> None:
    rows, unknown = encode(TEXT, [3, 4.0], [-3e300, 4e300], [0, 0], [0, 1e-300])
    assert rows == [
        pytest.approx([0.6, 0.8]), pytest.approx([-0.6, 0.8]), [0, 0], [0, 1],
    ]  # fmt: skip
    assert not unknown


def test_a_vector_is_standardised_number_by_number() -> None:
    assert encode(SCALED, [1, -1], [3, 0], [1e9, -1e9])[0] == [[0, 0], [1, 2], [10, -10]]


def test_a_vector_encoding_has_a_mean_for_each_number() -> None:
    with pytest.raises(ValueError, match="do not have 2 numbers"):
        VectorEncoding(name="text", size=2, mean=(1,), std=(1,))


@pytest.mark.parametrize("encoding", ENCODER.columns, ids=lambda column: column.name)
def test_a_missing_value_is_all_zeros(encoding: Encoding) -> None:
    rows, unknown = encode(encoding, None)
    assert rows == [[0] * encoding.width]
    assert not unknown


@pytest.mark.parametrize(
    ("encoding", "value", "message"),
    [
        (AGE, "30", "feature 'age' takes a number, not '30'"),
        (AGE, True, "takes a number, not True"),
        (AGE, ["a"], "takes a number, not ['a']"),
        (AGE, math.nan, "is nan; it must be finite"),
        (AGE, -math.inf, "is -inf; it must be finite"),
        (LEVEL, 3, "feature 'level' takes one text, not 3"),
        (LEVEL, ["low"], "takes one text, not ['low']"),
        (TOPICS, "a", "feature 'topics' takes a list of texts, not 'a'"),
        (TOPICS, 3, "takes a list of texts, not 3"),
        (TAGS, ["x", 3], "feature 'tags' takes a list of texts, not ['x', 3]"),
        (TEXT, [1, 2, 3], "feature 'text' takes 2 numbers, not 3"),
        (TEXT, [], "takes 2 numbers, not 0"),
        (TEXT, 1.5, "takes 2 numbers, not 1.5"),
        (TEXT, "12", "takes 2 numbers, not '12'"),
        (TEXT, ["1", "2"], "takes 2 numbers, not ['1', '2']"),
        (TEXT, [True, 1], "takes 2 numbers, not [True, 1]"),
        (TEXT, [1, math.nan], "has nan as number 2; each must be finite"),
        (SCALED, [math.inf, 1], "has inf as number 1; each must be finite"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(
    encoding: Encoding, value: Value, message: str
) -> None:
    with pytest.raises(InvalidFeature) as caught:
        encoding.encode([value], Counter())
    assert message in str(caught.value)
    assert caught.value.name == encoding.name


def test_a_column_that_is_not_encoded_is_refused() -> None:
    with pytest.raises(InvalidFeature, match="'height' is not a feature of this version; it has"):
        ENCODER.encode_one({"height": 2}, Counter())
    with pytest.raises(InvalidFeature, match="it has: none"):
        FeatureEncoder().encode_one({"height": 2}, Counter())


def test_one_node_is_encoded_as_in_a_table() -> None:
    """A feature that is not given is the same as a missing value."""
    table: dict[str, list[Value | None]] = {
        "age": [20, None],
        "year": [1999.5, 2015],
        "level": ["low", None],
        "topics": [["a", "zz"], ["b"]],
        "tags": [None, ["y", "x"]],
        "hashed": [["q"], None],
        "text": [[1, 2], None],
        "scaled": [None, [0.5, 0.5]],
    }
    unknown: Counter[str] = Counter()
    rows = ENCODER.encode(table, unknown)
    assert rows.shape == (2, ENCODER.width) == (2, 1 + 4 + 2 + 3 + 2 + 7 + 2 + 2)
    assert unknown == {"topics": 1}
    for row in range(2):
        values = {name: column[row] for name, column in table.items()}
        given_ones = {name: value for name, value in values.items() if value is not None}
        assert np.array_equal(ENCODER.encode_one(given_ones, Counter())[0], rows[row])
    assert not ENCODER.encode_one({}, Counter()).any()


def test_an_encoder_is_the_same_after_json() -> None:
    encoding = NodeFeatures(users=FeatureEncoder(columns=(AGE,)), items=ENCODER)
    assert NodeFeatures.model_validate_json(encoding.model_dump_json()) == encoding


def test_the_inputs_of_users_and_items_keep_their_blocks_apart() -> None:
    features = NodeFeatures(
        users=FeatureEncoder(columns=(AGE,)), items=FeatureEncoder(columns=(LEVEL,))
    )
    own = np.array([[0.5]], np.float32), np.array([[0, 1]], np.float32)
    assert features.width == 5
    assert features.user_inputs(own[0]).tolist() == [[0.5, 0, 0, 1, 0]]
    assert features.item_inputs(own[1]).tolist() == [[0, 0, 1, 0, 1]]
    assert features.user_inputs(own[0], own[1]).tolist() == [[0.5, 0, 1, 1, 0]]
    assert features.item_inputs(own[1], own[0]).tolist() == [[0.5, 0, 1, 0, 1]]


def test_a_raw_value_loses_its_outer_spaces() -> None:
    trimmed: dict[str, Value] = {"age": 20, "level": "low", "topics": ["a", "b"], "hashed": ["q"]}
    raw: dict[str, Value] = {
        "age": " 20 ",
        "level": "low ",
        "topics": [" a", "b\t", " "],
        "hashed": [" q"],
    }
    rows = [ENCODER.encode_one(each, Counter()).tolist() for each in (trimmed, raw)]
    assert rows[0] == rows[1]
    assert not ENCODER.encode_one({"age": " ", "level": ""}, Counter()).any()


def test_a_text_without_the_number_that_its_column_takes_is_refused() -> None:
    with pytest.raises(InvalidFeature, match="feature 'age' takes a number, not 'old'"):
        ENCODER.encode_one({"age": "old"}, Counter())


@pytest.mark.parametrize("pattern", ["(", "no group", "(" * 5000])
def test_a_pattern_that_finds_nothing_is_no_encoding(pattern: str) -> None:
    with pytest.raises(ValueError, match="'age'"):
        NumericEncoding(name="age", mean=30, std=10, pattern=pattern)


def test_a_pattern_looks_through_texts_of_a_thousand_characters() -> None:
    """A pattern may take quadratic time, and anybody may send a long text."""
    year = NumericEncoding(name="year", mean=2000, std=10, pattern=r"(\d+) AD")
    encoder = FeatureEncoder(columns=(year,))
    assert encoder.encode_one({"year": "2010 AD".rjust(1000)}, Counter()).tolist() == [[1]]
    with pytest.raises(InvalidFeature, match="1001 characters; a value is looked for in at most"):
        encoder.encode_one({"year": "2010 AD".rjust(1001)}, Counter())
