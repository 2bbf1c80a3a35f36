import torch

from tests.training.kinds import KINDS, USERS, inputs


def test_means_over_neighbours_fill_the_other_block() -> None:
    data = inputs()
    rows = torch.tensor([0, USERS, USERS + 45])
    found = data.with_means(rows, data.graph.neighbours())
    mine = data.graph.item_rows[data.graph.user_rows == 0]
    expected = data.x[USERS + torch.from_numpy(mine).long(), :KINDS].mean(0)
    torch.testing.assert_close(found[0, :KINDS], expected)
    torch.testing.assert_close(found[0, KINDS:], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(found[1:], data.x[rows[1:]])
