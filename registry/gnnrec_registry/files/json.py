"""JSON in a registry: the one way it is written, and the base of what is read from it."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

Json = dict[str, Any]
"""A JSON object."""


class Part(BaseModel):
    """An object in a JSON file of a registry; NaN and infinity are refused.

    Keys that this program does not know are kept: a later program may have written them.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


def canonical_json(value: object) -> bytes:
    """Return the only form in which a registry writes a value, so that bytes can be compared.

    Keys are sorted, two spaces indent, and a newline ends it. NaN and infinity raise ValueError.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2, sort_keys=True)
    return text.encode() + b"\n"


def first_problem(error: ValidationError) -> str:
    """Return the first thing that is wrong, and where, in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(
        step if isinstance(step, str) and step.isprintable() else ascii(step)
        for step in first["loc"]
    )
    return f"{place}: {first['msg']}"
