"""What README and docs show is better than what is simple, on real data; needs GNNREC_DATA."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gnnrec.training.run import configured
from gnnrec_registry import ModelStore
from gnnrec_training.config import Config
from gnnrec_training.reporter import Silent
from gnnrec_training.train import train
from tests.tracked import ROOT

DATA = os.environ.get("GNNREC_DATA", "")
PAGES = (ROOT / "README.md", ROOT / "docs" / "configuration.md")
MODELS = ("search", "spectral", "ease", "als", "cooccurrence", "lightgcn", "fusion", "serve")
FILES = {
    "shop": ("purchases.csv", "products.csv"),
    "ml-latest-small": ("ratings.csv.gz",),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA and not os.environ.get("CI"), reason="GNNREC_DATA is not set"),
]


def shown() -> list[Any]:
    """Return the models of each configuration that a page shows; a search takes no minutes."""
    found: list[tuple[str, dict[str, Any]]] = []
    for page in PAGES:
        for place, block in enumerate(
            re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
        ):
            values = tomllib.loads(block)
            if "sage" in values:
                continue  # about nodes without interactions, which these splits do not ask for
            models = {name: values[name] for name in MODELS if name in values}
            if not models or "search" in models:
                models = {"search": {**models.get("search", {}), "minutes": 0}}
            if models not in [there for _, there in found]:
                found.append((f"{page.name} {place}", models))
    return [pytest.param(models, id=name) for name, models in found]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("models", shown())
def test_a_shown_configuration_beats_popularity_and_the_closed_form(
    models: dict[str, Any], name: str, tmp_path: Path
) -> None:
    proposed, beside = configured([str(Path(DATA, name, file)) for file in FILES[name]], print)
    values = {**proposed.model_dump(exclude_unset=True), "refit": False, **models}
    if "search" not in models:
        del values["search"]
    config = Config.model_validate(values)
    verdict = train(config, beside, ModelStore(tmp_path, name), Silent()).verdict
    assert verdict is not None
    rows = {row.model: row for row in verdict.rows}
    for metric in verdict.rows[0].metrics:
        for simple in ("popularity", "spectral-64"):
            assert rows[simple].more[metric].value > 0, (simple, metric)
