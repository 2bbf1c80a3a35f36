"""The models of a published version, taken over by a configuration that names none itself."""

from collections.abc import Mapping
from typing import Any

from gnnrec_training.config.parse import resolve
from gnnrec_training.config.training import Config
from gnnrec_training.errors import InvalidConfig

_MODELS = (
    "spectral", "ease", "als", "cooccurrence", "lightgcn", "sage", "hybrid", "fusion",
)  # fmt: skip


def following(config: Config, version: str, made_with: Mapping[str, Any], served: str) -> Config:
    """Return a configuration with the models, the graph and `serve` of a version.

    made_with: the configuration in the version's manifest; served: its default variant. A
    configuration that names models is returned as it is. Raises InvalidConfig for one with a
    [search], and where the version's sections are none of today.
    """
    if config.search is not None:
        raise InvalidConfig(
            f"a training from {version} takes over its models, and [search] or minutes would "
            "choose others; remove [search] to take over the models of the version, or train "
            "without it"
        )
    if config.variants:
        return config
    taken = {name: made_with[name] for name in _MODELS if made_with.get(name) is not None}
    if not taken:
        raise InvalidConfig(
            f"version {version} does not say what models it has, so none can be taken over; name "
            "models in the configuration, such as [lightgcn]"
        )
    values = config.model_dump(exclude_unset=True) | taken | {"serve": served}
    if (graph := made_with.get("graph")) is not None:
        # the moment that ages count from is that of the data, so today's
        values["graph"] = {**graph, "as_of": config.graph.as_of}
    return resolve(values, f"with the models of version {version} this configuration is not valid")
