from gnnrec_server.rollout.retries import Refusal

MOVES = frozenset({("production", 3)})


def refused(attempts: int = 1) -> Refusal:
    return Refusal(ValueError("bad"), attempts, tried_at=100.0, moves=MOVES, stamp="files")


def first_due(refusal: Refusal, moves: frozenset[tuple[str, int]], stamp: str) -> float:
    """Return after how many seconds the version is tried again."""
    return next(
        tenth / 10 for tenth in range(1000) if refusal.is_due(100.0 + tenth / 10, moves, stamp)
    )


def test_without_a_change_the_waits_double_up_to_a_minute() -> None:
    waits = [first_due(refused(attempts), MOVES, "files") for attempts in range(1, 9)]
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_changed_files_are_tried_soon_and_a_moved_alias_at_once() -> None:
    late = refused(attempts=8)
    assert first_due(late, MOVES, "other files") == 2
    assert first_due(late, frozenset({("production", 4)}), "files") == 0
    assert first_due(late, MOVES | {("canary", 1)}, "files") == 0
    assert first_due(late, frozenset(), "files") == 60, "an alias that let go asks for nothing"
