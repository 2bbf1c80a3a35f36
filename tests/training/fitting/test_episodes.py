import numpy as np

from gnnrec_training.config import NodeFitConfig
from gnnrec_training.fitting.episodes import draw_episode
from tests.training.kinds import (
    USERS,
    inputs,
)


def test_no_message_passes_over_what_is_to_be_found() -> None:
    data = inputs()
    config = NodeFitConfig(isolated_share=0.3, edge_dropout=0.2)
    drawn = draw_episode(data, np.arange(0, USERS, 2), config, np.random.default_rng(0))
    had = {
        (int(u), int(i)): bool(passes)
        for u, i, passes in zip(
            data.graph.user_rows, data.graph.item_rows, drawn.passing, strict=True
        )
    }
    for question in (drawn.new, drawn.known):
        asked = {
            (int(drawn.users[b]), int(question.items[c])) for b, c in question.targets.nonzero()
        }
        given = {
            (int(drawn.users[b]), int(question.items[c])) for b, c in question.visible.nonzero()
        }
        assert asked
        assert not any(had[pair] for pair in asked)
        assert all(had[pair] for pair in given)
        shown = {p for p in had if p[0] in drawn.users and p[1] in question.items}
        assert asked | given == shown
    new, lonely = set(drawn.new.items), set(drawn.users[drawn.isolated])
    assert lonely
    assert not any(passes for (u, i), passes in had.items() if i in new or u in lonely)
    assert set(drawn.new.items).isdisjoint(drawn.known.items)
