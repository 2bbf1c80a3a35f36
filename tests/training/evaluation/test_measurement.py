import numpy as np

from gnnrec_registry import VariantExport
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.evaluation.measurement import measure
from gnnrec_training.reporter import Silent
from tests.item_lists import random_lists
from tests.made import embeddings
from tests.training.boards import random_interactions


def test_item_lists_count_for_their_variant_alone_on_each_part_over_what_came_before() -> None:
    pairs = random_interactions(30, 20, 300, 0)
    part = np.arange(len(pairs)) % 5
    dataset = Dataset(
        name="small",
        user_ids=[f"u{row}" for row in range(30)],
        item_ids=[f"i{row}" for row in range(20)],
        train=pairs.take(part > 1),
        validation=pairs.take(part == 1),
        test=pairs.take(part == 0),
    )
    config = Config.model_validate(
        {
            "name": "small",
            "data": {"interactions": "none.csv"},
            "lightgcn": {"embedding_dim": 4},
            "evaluation": {"k": [5]},
        }
    )
    halves = embeddings(30, 4, 1), embeddings(20, 4, 2)
    without = VariantExport(*halves)
    listed = VariantExport(*halves, lists=random_lists(20, 0.3))
    measured = measure(config, dataset, {"lightgcn": without, "fused": listed}, Silent()).metrics
    plain = measure(config, dataset, {"lightgcn": without, "fused": without}, Silent()).metrics
    assert measured["lightgcn"] == plain["lightgcn"] == plain["fused"]
    for split in ("validation", "test"):
        assert measured["fused"][split] != plain["fused"][split]
    names = {"random", "popularity", "item-knn", "als-64", "ease-default", "spectral-64"}
    assert set(measured) == {"lightgcn", "fused"} | names
    assert all(list(measured[name]) == ["test"] for name in names), "baselines are judged by test"
