"""What is checked before a training starts."""

from pathlib import Path
from typing import Any

import pytest

from gnnrec_training.config import Config
from gnnrec_training.errors import InvalidConfig
from gnnrec_training.fitting.estimate import estimate
from gnnrec_training.reporter import Silent


class Told(Silent):
    """A reporter that keeps the lines it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        self.lines.append(line)


def config(folder: Path, counts: list[int], split: dict[str, Any]) -> Config:
    """Return a configuration for users with so many items each, one a second."""
    rows = [f"u{user},i{item},{item}" for user, count in enumerate(counts) for item in range(count)]
    (folder / "data.csv").write_text("\n".join(["user_id,item_id,t", *rows]) + "\n")
    return Config.model_validate(
        {
            "name": "toy",
            "data": {"interactions": "data.csv", "time_column": "t"},
            "split": split,
            "spectral": {"embedding_dim": 2},
            "evaluation": {"k": [1]},
        }
    )


@pytest.mark.parametrize(
    ("counts", "split", "message"),
    [
        (
            [1, 1],
            {"test": 0},
            "validation part: users have too few; set a larger split.validation, another "
            "split.method, or split.validation = 0 to train without one",
        ),
        ([1, 1], {}, "test part: users have too few; set a larger split.test"),
        (
            [2, 2],
            {"method": "leave_last_out"},
            "validation part: no user has 3 interactions; take another split.method",
        ),
        ([1], {"method": "leave_last_out"}, "test part: no user has 2 interactions"),
        (
            [4],
            {"method": "leave_last_out", "last": 3},
            "validation part: no user has 5 interactions",
        ),
        ([1, 1], {"method": "time"}, "test part: interactions are too few; set a larger"),
        ([1, 2], {"method": "time", "test": 0.4}, "validation part: interactions are too few"),
    ],
)
def test_an_empty_part_that_was_asked_for_is_refused_with_a_way_out(
    tmp_path: Path, counts: list[int], split: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidConfig) as caught:
        estimate(config(tmp_path, counts, split), tmp_path, Silent())
    assert f"the split left no interaction for the {message}" in str(caught.value)


@pytest.mark.parametrize("split", [{"test": 0, "validation": 0}, {"method": "leave_last_out"}])
def test_a_part_that_was_not_asked_for_may_be_empty(tmp_path: Path, split: dict[str, Any]) -> None:
    counts = estimate(config(tmp_path, [3, 3], split), tmp_path, Silent()).counts
    assert bool(counts["validation"]) == bool(split.get("method"))


@pytest.mark.parametrize(("users", "warned"), [(1, "1 user:"), (99, "99 users:"), (100, "")])
def test_a_validation_part_of_few_users_is_warned_of(
    tmp_path: Path, users: int, warned: str
) -> None:
    told = Told()
    estimate(config(tmp_path, [3] * users, {"method": "leave_last_out"}), tmp_path, told)
    warnings = [line for line in told.lines if line.startswith("warning: ")]
    assert [line.partition(" has ")[2].partition(" differences")[0] for line in warnings] == (
        [warned] if warned else []
    )
