"""Sample users: what they interacted with, and what is recommended to them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import VariantExport
from gnnrec_registry.scoring.ranking import NO_ROW, Scores
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.evaluation.ranking import rank
from gnnrec_training.graph.sparse import Csr

_PEOPLE = 10
_HAD = 8


@dataclass(frozen=True)
class Recommended:
    """An item of a user's list.

    probability: its share of the softmax over the list; held_out: whether it is among the user's
    interactions of the test part, or of the validation part where there is no test part.
    """

    title: str
    probability: float
    held_out: bool


@dataclass(frozen=True)
class Person:
    """A user with their latest items (the first of the data, where it has no times)."""

    user_id: str
    had: list[str]
    more: int
    """How many items they had besides."""
    gets: list[Recommended]


def sample_people(
    dataset: Dataset,
    seen: Csr,
    model: VariantExport,
    titles: list[str],
    k: int,
) -> list[Person]:
    """Return ten users from the least to the most active, with their k best unseen items.

    seen (U, I): what they had, above 0 for the edges of the graph
    """
    activity = np.diff(seen.indptr)
    active = np.flatnonzero(activity)
    order = active[np.argsort(activity[active], kind="stable")]
    places = np.unique(np.linspace(0, len(order) - 1, _PEOPLE).astype(np.int64))
    rows = order[places]
    scores, ranked = rank(
        np.ascontiguousarray(model.users[rows]), np.ascontiguousarray(model.items), rows, seen,
        min(k, len(model.items)), lists=model.lists, history=seen.positive(),
    )  # fmt: skip
    part = dataset.test if len(dataset.test) else dataset.validation
    people = []
    for user, user_scores, user_items in zip(rows, scores, ranked, strict=True):
        there = user_items != NO_ROW
        wanted = set(part.item_rows[part.user_rows == user].tolist())
        had = _latest_first(dataset, int(user))
        people.append(
            Person(
                dataset.user_ids[user],
                [titles[item] for item in had[:_HAD]],
                max(0, len(had) - _HAD),
                [
                    Recommended(titles[item], float(share), int(item) in wanted)
                    for item, share in zip(
                        user_items[there], _softmax(user_scores[there]), strict=True
                    )
                ],
            )
        )
    return people


def _latest_first(dataset: Dataset, user: int) -> list[int]:
    known = dataset.known
    mine = np.flatnonzero(known.user_rows == user)
    if known.times is not None:
        mine = mine[np.argsort(-known.times[mine], kind="stable")]
    return [int(item) for item in known.item_rows[mine]]


def _softmax(scores: Scores) -> NDArray[np.float64]:
    """Return exp(s) / sum exp(s): the probabilities that a server gives with its answers."""
    powers = np.exp(scores.astype(np.float64) - scores.max(initial=-np.inf))
    shares: NDArray[np.float64] = powers / powers.sum()
    return shares
