from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from gnnrec_training.config import Config, HybridConfig, HybridFitConfig, Section, load
from gnnrec_training.errors import InvalidConfig
from tests.tracked import tracked

GOOD = 'name = "toy"\n[data]\ninteractions = "data.csv"\n'
ITEMS = GOOD + '[data.items]\nfile = "items.csv"\n'


def feature(text: str) -> str:
    """Return a configuration with one feature of the items."""
    return ITEMS + '[[data.items.features]]\nname = "it"\n' + text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "is not TOML"),
        ("", "name: Field required; data: Field required"),
        (
            GOOD + "[lightgcn]\nlayers = 3\n",
            "lightgcn.layers is no key; is it lightgcn.num_layers?",
        ),
        (
            GOOD + "[lightgcn]\nembedding_dim = 0\n",
            "lightgcn.embedding_dim: Input should",
        ),
        (GOOD + "[lightgcn.training]\nlearning_rate = nan\n", "lightgcn.training.learning_rate: "),
        (GOOD + '[split]\nmethod = "given"\n', "data.test file go together"),
        (GOOD + '[split]\nmethod = "leave_last_out"\n', "needs data.time_column"),
        (GOOD + '[split]\nmethod = "time"\n', 'split.method = "time" needs data.time_column'),
        (
            GOOD + "[split]\nvalidation = 0\n[lightgcn]\n[spectral]\n",
            "which of spectral, lightgcn is served is chosen on a validation part, and [split] has "
            'none; set split.validation, or name one, such as serve = "lightgcn"',
        ),
        (
            'serve = "sage"\n' + GOOD + "[lightgcn]\n",
            "serve = 'sage' is not trained; there are lightgcn",
        ),
        (
            'serve = "sage"\n' + GOOD,
            "serve = 'sage' is not trained, for no model is configured; add its section, or leave",
        ),
        (
            GOOD + "[search]\n[lightgcn]\n",
            "[search] chooses the models, and [lightgcn] names one; keep one or the other",
        ),
        (GOOD + "[split]\nvalidation = 0\n[search]\n", "and [split] has none"),
        (GOOD + "[graph]\nweighted = true\n", "need data.weight_column"),
        (GOOD + "[lightgcn.training]\ntemperature = 0\n", "lightgcn.training.temperature: "),
        (GOOD + "[graph]\nhalf_life_days = 5\n", "needs data.time_column"),
        (GOOD + "[fusion]\n", "fusion.weights: Field required"),
        (
            GOOD + "[lightgcn]\n[fusion]\nweights = { lightgcn = 1, spectral = 0.6 }\n",
            "[fusion] joins [spectral]; add it",
        ),
        (
            GOOD + "[lightgcn]\n[fusion]\nweights = { lightgcn = 1, fused = 0.6 }\n",
            "fusion.weights.fused is no model; there are lightgcn, spectral, ",
        ),
        (GOOD + "[sage]\n", "know nodes by their features"),
        (GOOD + "[hybrid]\n", "know nodes by their features"),
        (GOOD + "[sage.training]\nnew_share = 0\n", "sage.training.new_share: "),
        (GOOD + '[lightgcn]\ninit = "features"\n', "[lightgcn.features] go together"),
        (
            GOOD + "[split]\nvalidation = 0\n[lightgcn.training]\npatience = 2\n",
            "lightgcn.training.patience needs a validation part",
        ),
        (
            GOOD + "[split]\nvalidation = 0\n[sage.training]\npatience = 2\n",
            "sage.training.patience needs a validation part",
        ),
        (GOOD + "[evaluation]\nk = []\n", "evaluation.k: "),
        (GOOD.replace("toy", "../toy"), "'../toy' is not a name"),
        (GOOD + '[data.users]\nfile = "users.csv"\n', "data.users.features: Field required"),
        (
            GOOD + '[data.users]\nfile = "users.csv"\nfeatures = []\n',
            "data.users.features: Tuple should have at least 1 item",
        ),
        (
            GOOD + '[data.users]\nfile = "u.csv"\ntitle_column = "x"\n',
            "data.users.title_column is no key; is it data.users.id_column?",
        ),
        (ITEMS + '[[data.items.features]]\nkind = "multi"\n', "features.0.name: Field required"),
        (feature('kind = "text"'), "data.items.features.0.kind: Input should be 'numeric'"),
        (
            feature('kind = "multi"\ncenters = 3'),
            "data.items.features.0.centers is no key; is it data.items.features.0.centres?",
        ),
        (
            feature('kind = "categorical"\ncentres = 3'),
            "data.items.features.0: feature 'it' is categorical, and centres is for numeric",
        ),
        (feature('kind = "numeric"\ncentres = 1'), "centres must be 0, or 2 and more"),
        (feature('kind = "numeric"\nmin_count = 3'), "min_count is for categorical, multi, tags"),
        (feature('kind = "numeric"\nbuckets = 3'), "buckets is for categorical, multi, tags"),
        (feature('kind = "categorical"\nseparator = ";"'), "separator is for multi, tags"),
        (feature('kind = "categorical"\nfile = "f.csv"'), "file is for multi, tags"),
        (feature('kind = "multi"\nseparator = ""'), "separator: String should have at least 1"),
        (feature('kind = "multi"\nwidth = 3'), "feature 'it' is multi, and width is for vector"),
        (feature('kind = "vector"\nseparator = ";"'), "separator is for multi, tags"),
        (feature('kind = "vector"\nwidth = 0'), "features.0.width: Input should be greater"),
        (
            feature('kind = "vector"\nfile = "f.csv"\nsource = {sql = "s", query = "q"}'),
            "feature 'it': set file or source, not both",
        ),
        (GOOD + "[data.items]\n", "data.items: set file, or source for a database"),
        (GOOD.replace('"data.csv"', "3"), "data.interactions: should be a file, or have sql and"),
        (GOOD.replace('"data.csv"', '{sql = "x"}'), "data.interactions.sql.query: Field required"),
        (
            GOOD + 'test = {mongo = "m", collection = "c", index = 3}\n',
            "data.test.mongo.index is no key",
        ),
        (feature('kind = "multi"\npattern = "(a)"'), "pattern is for numeric, categorical"),
        (feature('kind = "numeric"\npattern = "("'), "pattern '(' is no regular expression"),
        (feature('kind = "numeric"\npattern = "a"'), "pattern 'a' has no group"),
        (feature('kind = "multi"\nbuckets = 9\nmin_count = 2'), "buckets hash every text"),
        (feature('kind = "multi"\nid_column = "x"'), "id_column is that of its file"),
        (feature('kind = "tags"\nfile = "f.csv"\nseparator = ";"'), "no separator"),
        (
            feature('kind = "multi"\n[[data.items.features]]\nname = "it"\nkind = "numeric"'),
            "data.items: two features are called 'it'",
        ),
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[lightgcn.trainig]\n", "lightgcn.trainig is no key; is it lightgcn.training?"),
        ("[spilt]\n", "spilt is no key; is it split?"),
        (
            '[lightgcn.training]\nloss = "bpr"\ntemperature = 0.2\n',
            "temperature does nothing with loss = 'bpr'",
        ),
        (
            '[split]\nmethod = "leave_last_out"\ntest = 0.3\n',
            "split.test does nothing with split.method = 'leave_last_out'; it is for random and "
            "time",
        ),
        ('[split]\nmethod = "random"\nlast = 2\n', "split.last does nothing with split.method"),
        ("[graph]\nas_of = 5.0\n", "graph.as_of does nothing without graph.half_life_days"),
    ],
)
def test_a_key_that_is_wrong_or_idle_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(GOOD + text)
    with pytest.raises(InvalidConfig) as caught:
        load(path)
    assert message in str(caught.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        GOOD + '[lightgcn]\nlayers = 3\n[spilt]\nx = 1\n[split]\nmethod = "given"\nlast = 3\n'
    )
    with pytest.raises(InvalidConfig) as caught:
        load(path)
    for problem in ("lightgcn.layers", "spilt is no key", "split.last does nothing", "go together"):
        assert problem in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "good.toml"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert load(path).name == "toy"


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="no configuration at"):
        load(tmp_path / "none.toml")


def test_a_resolved_configuration_reads_as_the_same(tmp_path: Path) -> None:
    """The form that the manifest records can be read as a configuration again."""
    path = tmp_path / "good.toml"
    path.write_text(feature("kind = \"numeric\"\npattern = '(\\d+)'\ncentres = 4\n"))
    config = load(path)
    assert config.data.items is not None
    assert config.data.items.features[0].pattern == r"(\d+)"
    assert Config.model_validate(config.model_dump(mode="json")) == config


def sections(model: type[Section]) -> Iterator[tuple[type[Section], str, Section]]:
    """Yield each default of a key that is a section itself, however deep: class, key, default."""
    for key, field in model.model_fields.items():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, Section):
                yield from sections(part)
        if isinstance(field.default, Section):
            yield model, key, field.default


def test_the_default_of_a_section_is_made_of_the_defaults_of_its_keys() -> None:
    """Else it would change with the first key that a configuration sets in that section."""
    found = list(sections(Config))
    assert (HybridConfig, "training", HybridFitConfig(learning_rate=0.003)) in found
    for model, key, default in found:
        annotation = model.model_fields[key].annotation
        assert type(default) is annotation, (model, key)
        assert default == type(default)(), (model, key)


def test_a_key_that_is_set_changes_no_other_one(tmp_path: Path) -> None:
    path = tmp_path / "hybrid.toml"
    path.write_text(feature('kind = "numeric"') + "\n[hybrid.training]\nepochs = 3\n")
    hybrid = load(path).hybrid
    assert hybrid is not None
    assert hybrid.training == HybridConfig().training.model_copy(update={"epochs": 3})


@pytest.mark.parametrize("path", tracked("benchmarks/recipes/*.toml"), ids=lambda path: path.stem)
def test_every_recipe_loads(path: Path) -> None:
    assert load(path).name
