import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gnnrec_registry.scoring.ranking import NO_ROW
from gnnrec_server.version.ids import IdTable


@given(st.lists(st.text(), unique=True), st.lists(st.text()))
def test_ids_and_rows_are_found_from_each_other(ids: list[str], others: list[str]) -> None:
    table = IdTable(ids)
    assert len(table) == len(ids)
    assert table.rows(ids).tolist() == list(range(len(ids)))
    assert table.texts(np.arange(len(ids))) == ids == [table.text(row) for row in range(len(ids))]
    for other in others:
        found = other if other in ids else other.strip()
        assert table.row(other) == (ids.index(found) if found in ids else NO_ROW)


def test_long_ids_keep_their_length() -> None:
    ids = ["x" * length for length in (0, 1, 127, 128, 16_383, 16_384, 70_000)]
    table = IdTable(ids)
    assert table.texts(np.arange(len(ids))[::-1]) == ids[::-1]
    assert table.rows(ids).tolist() == list(range(len(ids)))


def test_outer_spaces_of_what_is_asked_go_unless_the_id_has_them() -> None:
    """Training trims ids; a version that was published otherwise may have such."""
    table = IdTable(["a", " b", "b"])
    assert table.rows(["a ", "\ta", " b", "b", "b ", "  b", " c", " "]).tolist() == [
        0, 0, 1, 2, 2, 2, NO_ROW, NO_ROW,
    ]  # fmt: skip
