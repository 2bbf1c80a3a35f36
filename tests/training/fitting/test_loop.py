import pytest

from gnnrec_training.config import LightGCNConfig
from gnnrec_training.fitting.loop import learning_rate


def shape(dim: int, layers: int = 3, **training: object) -> LightGCNConfig:
    return LightGCNConfig.model_validate(
        {"embedding_dim": dim, "num_layers": layers, "training": training}
    )


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1]),
        ("linear", [0.45, 0.8, 0.5, 0.0]),
        ("cosine", [None, None, 0.5, 0]),
    ],
)
def test_the_learning_rate_warms_up_and_decays(schedule: str, expected: list[float | None]) -> None:
    config = shape(1, schedule=schedule, warmup=0.2, learning_rate=1.0).training
    for done, rate in zip((0.1, 0.2, 0.5, 1.0), expected, strict=True):
        if rate is not None:
            assert learning_rate(config, done) == pytest.approx(rate, abs=1e-12)
