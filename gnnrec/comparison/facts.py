"""Differences between two manifests: configuration, data, variants, libraries."""

from typing import Any

Facts = dict[str, Any]

_MISSING = None


def differences(a: Facts, b: Facts) -> dict[str, tuple[Any, Any]]:
    """Return the values that differ between two manifests, by dotted name; None for a missing one.

    >>> differences({"config": {"seed": 0}}, {"config": {"seed": 1}})
    {'config.seed': (0, 1)}
    """
    ours, theirs = _flat(a), _flat(b)
    return {
        key: (ours.get(key, _MISSING), theirs.get(key, _MISSING))
        for key in [*ours, *(key for key in theirs if key not in ours)]
        if ours.get(key, _MISSING) != theirs.get(key, _MISSING)
    }


def is_metric(name: str) -> bool:
    """Return whether a dotted name is that of a metric, and not of a setting or of data."""
    return ".metrics." in name or name.startswith("baselines.")


def _flat(manifest: Facts) -> Facts:
    flat: Facts = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
            for place, inner in enumerate(value):
                walk(f"{prefix}[{place}]", inner)
        else:
            flat[prefix] = value

    for section in ("variants", "baselines", "config", "data", "libraries"):
        walk(section, manifest.get(section, {}))
    return flat
