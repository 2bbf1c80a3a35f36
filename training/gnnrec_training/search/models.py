"""The models that a search tries, over one graph of the training part."""

from gnnrec_registry import VariantExport
from gnnrec_training.config import Config, Family
from gnnrec_training.config.defaults import Figures, Values, with_defaults
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.evaluation.seen import history
from gnnrec_training.export.closed_forms import ClosedForms
from gnnrec_training.graph.edges import edges

SHORT = 0.25
"""A short trial of LightGCN has this share of its epochs."""


def model_config(
    base: Config,
    figures: Figures,
    family: Family,
    settings: Values,
    lightgcn: Values | None = None,
) -> Config:
    """Return the configuration of one model, as `base` but for the search.

    settings: keys of its section; lightgcn: those of the LightGCN that the hybrid starts from. All
    others follow from the figures.
    """
    values = base.model_dump(exclude_unset=True)
    values.pop("search")
    values |= {family: settings, "graph": base.graph.model_dump(), "serve": family}
    if lightgcn is not None:
        values["lightgcn"] = lightgcn
    return with_defaults(Config.model_validate(values), figures)


def short(config: Config) -> Config:
    """Return the configuration of a LightGCN for a quarter of its epochs, validated four times."""
    assert config.lightgcn is not None
    fit = config.lightgcn.training
    epochs = max(2, round(fit.epochs * SHORT))
    quarter = {"epochs": epochs, "validate_every": max(1, epochs // 4), "patience": 0}
    lightgcn = config.lightgcn.model_copy(update={"training": fit.model_copy(update=quarter)})
    return config.model_copy(update={"lightgcn": lightgcn})


class Models:
    """The models of one graph, computed over the edges of the training part."""

    def __init__(self, config: Config, dataset: Dataset) -> None:
        self._base, self._dataset = config, dataset
        self.edges = edges(dataset, config.graph)
        self.graph = history(config, dataset)
        self._forms = ClosedForms(
            self.edges, len(dataset.user_ids), len(dataset.item_ids), config.seed,
            weighted=config.graph.weighted is True,
        )  # fmt: skip

    def closed(self, family: Family, settings: Values) -> VariantExport:
        """Compute a model in closed form."""
        config = self.config(family, settings)
        made: VariantExport = getattr(self._forms, family)(getattr(config, family))
        return made

    def config(self, family: Family, settings: Values, lightgcn: Values | None = None) -> Config:
        """Return the configuration of one model; lightgcn: the one that a hybrid starts from."""
        return model_config(self._base, self._dataset.figures, family, settings, lightgcn)
