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
        (GOOD + "[model]\nlayers = 3\n", "model.layers: Extra inputs are not permitted"),
        (GOOD + "[model]\nembedding_dim = 0\n", "model.embedding_dim: Input should be greater"),
        (GOOD + "[training]\nlearning_rate = nan\n", "training.learning_rate: "),
        (GOOD + '[split]\nmethod = "given"\n', "data.test file go together"),
        (GOOD + '[split]\nmethod = "leave_last_out"\n', "needs data.time_column"),
        (GOOD + "[model]\nweighted = true\n", "need data.weight_column"),
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
