"""What several processes count of a trial, added up."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnnrec_server.trials import counters
from gnnrec_server.trials.counters import (
    RECENT,
    Count,
    RequestKind,
    TrialCounter,
    TrialCounters,
    TrialTotals,
)

ENDS = st.tuples(
    st.sampled_from(RequestKind), st.none() | st.floats(0, 10), st.booleans(), st.booleans()
)


def blank() -> TrialCounter:
    return TrialCounter(np.zeros(counters._NUMBERS))


@given(asked=st.lists(st.tuples(st.integers(0, 2), ENDS), max_size=60), recent=st.integers(1, 20))
def test_it_does_not_matter_which_process_counts(
    asked: list[tuple[int, tuple[RequestKind, float | None, bool, bool]]], recent: int
) -> None:
    """The most recent requests are those of all processes, as if one had counted them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counters, "RECENT", recent)
        patch.setattr(counters, "_SHAPE", (len(RequestKind), recent, counters._COLUMNS))
        patch.setattr(counters, "_NUMBERS", 16 + len(RequestKind) * recent * counters._COLUMNS)
        ticks = iter(range(1000))
        patch.setattr("gnnrec_server.trials.counters.time.monotonic", lambda: float(next(ticks)))
        many, one = [blank() for _ in range(3)], blank()
        for process, ended in asked:
            many[process].enter(*ended)
        for _, ended in asked:
            one.enter(*ended)
        for kind in RequestKind:
            last, expected = TrialTotals(many).recent(kind), TrialTotals([one]).recent(kind)
            assert TrialTotals(many)[kind] == sum(each[1][0] == kind for each in asked)
            assert sorted(last.seconds) == sorted(expected.seconds)
            assert last.error_share == expected.error_share
            assert last.slow_share == expected.slow_share
            assert last.quantile(0.99) == expected.quantile(0.99)


def _count(folder: Path, number: int) -> None:
    counter = TrialCounters(folder).open("trial", 100.0 + number)
    for _ in range(RECENT + number):
        counter.enter(RequestKind.STABLE, 0.5, failed=True)
        counter.add(Count.STABLE_ERRORS)
    os._exit(9)  # killed


def test_what_other_processes_count_is_seen_at_once_and_kept_when_they_die(tmp_path: Path) -> None:
    here = TrialCounters(tmp_path / "trials")
    own = here.open("trial", 50.0)
    own.enter(RequestKind.STABLE, 0.1)
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_count, args=(tmp_path / "trials", n)) for n in (1, 2)]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
        assert other.exitcode == 9
    seen = here.sum("trial")
    assert seen[RequestKind.STABLE] == 2 * RECENT + 4
    assert seen[Count.STABLE_ERRORS] == 2 * RECENT + 3
    assert seen.began_at == 50.0
    assert seen.recent(RequestKind.STABLE).error_share == 1, (
        "of the last of all, and the own is older"
    )
    own.enter(RequestKind.STABLE, 0.9)
    assert seen.recent(RequestKind.STABLE).quantile(1) == 0.9
    assert here.sum("trial")[RequestKind.STABLE] == 2 * RECENT + 5

    here.close("trial")
    assert not list((tmp_path / "trials").iterdir())
    here.open("next", 60.0)
    assert here.sum("next")[RequestKind.STABLE] == 0


def test_without_room_for_a_file_a_process_counts_for_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "trials").write_text("not a folder")
    here = TrialCounters(tmp_path / "trials")
    here.open("trial", 1.0).enter(RequestKind.STABLE, 0.1)
    assert here.sum("trial")[RequestKind.STABLE] == 1
    assert "a trial is counted by this worker for itself: " in caplog.text
    here.close("trial")
