from pathlib import Path

import pytest

from training.config import load
from training.errors import InvalidConfig

GOOD = 'name = "toy"\n[data]\ninteractions = "data.csv"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "is not TOML"),
        ("", "name: Field required; data: Field required"),
        (GOOD + "[lightgcn]\nlayers = 3\n", "lightgcn.layers: Extra inputs are not permitted"),
        (
            GOOD + "[lightgcn]\nembedding_dim = 0\n",
            "lightgcn.embedding_dim: Input should",
        ),
        (GOOD + "[lightgcn.training]\nlearning_rate = nan\n", "lightgcn.training.learning_rate: "),
        (GOOD + '[split]\nmethod = "given"\n', "data.test file go together"),
        (GOOD + '[split]\nmethod = "leave_last_out"\n', "needs data.time_column"),
        (GOOD + "[graph]\nweighted = true\n", "need data.weight_column"),
        (GOOD + "[lightgcn.training]\ntemperature = 0\n", "lightgcn.training.temperature: "),
        (GOOD + "[graph]\nhalf_life_days = 5\n", "needs data.time_column"),
        (GOOD + "[fusion]\n", "joins [lightgcn] and [spectral]"),
        (GOOD + '[lightgcn]\ninit = "features"\n', "[lightgcn.features] go together"),
        (
            GOOD + "[split]\nvalidation = 0\n[lightgcn.training]\npatience = 2\n",
            "needs a validation part",
        ),
        (GOOD + "[evaluation]\nk = []\n", "evaluation.k: "),
        (GOOD.replace("toy", "../toy"), "'../toy' is not a name"),
    ],
)
def test_a_bad_configuration_is_one_line_with_file_and_key(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InvalidConfig) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="no configuration at"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize("path", sorted(Path("benchmarks/recipes").glob("*.toml")), ids=str)
def test_every_recipe_loads(path: Path) -> None:
    assert load(path).name
