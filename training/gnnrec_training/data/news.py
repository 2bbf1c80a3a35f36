"""What is held out where a training starts from a published version: only what that did not know.

The version's embeddings hold what they were fitted on, and a published version is fitted on
everything. Metrics on interactions that it knew would flatter whatever starts from it.
"""

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import Version
from gnnrec_registry.files.arrays import among
from gnnrec_training.config import SplitConfig
from gnnrec_training.data.dataset import Interactions, concatenate
from gnnrec_training.data.split import Parts


class Known:
    """The interactions that a version was fitted on, by the rows of a data set that is read."""

    def __init__(self, version: Version, user_ids: list[str], item_ids: list[str]) -> None:
        """user_ids, item_ids: those of the data set, by row."""
        self.name = version.name
        self._width = len(version.item_ids)
        indptr, items = version.seen
        users = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        fitted = slice(None) if version.liked is None else version.liked
        self._keys = (users * self._width + items)[fitted]
        self._user_rows = rows_of(version.user_ids, user_ids)
        self._item_rows = rows_of(version.item_ids, item_ids)

    def has(self, part: Interactions) -> NDArray[np.bool_]:
        """Tell which interactions (E,) the version was fitted on."""
        users, items = self._user_rows[part.user_rows], self._item_rows[part.item_rows]
        found: NDArray[np.bool_] = among(users * self._width + items, self._keys)
        return (users >= 0) & (items >= 0) & found


def hold_out_news(parts: Parts, known: Known, config: SplitConfig) -> Parts:
    """Return the parts with what a version knew in training, so that only what is new is held out.

    By time, all that is new may be in the test part. Then its earlier half is for validation.
    """
    train, validation, test = parts
    news = []
    for part in (validation, test):
        was_known = known.has(part)
        train = concatenate(train, part.take(was_known))
        news.append(part.take(~was_known))
    validation, test = news
    if config.method == "time" and config.validation > 0 and len(validation) == 0 and len(test):
        assert test.times is not None  # the configuration demands a time column
        early = test.times < np.sort(test.times)[len(test) // 2]
        validation, test = test.take(early), test.take(~early)
    return train, validation, test


def rows_of(ids: list[str], asked: list[str]) -> NDArray[np.int64]:
    """Return the row in `ids` of each id asked for, -1 for one that is not there: (N,)."""
    place = {name: row for row, name in enumerate(ids)}
    return np.array([place.get(name, -1) for name in asked], np.int64)
