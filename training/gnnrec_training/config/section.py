"""The base of every section of a configuration, and the type of a key that is a share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, lt=1)]
"""A share from 0 up to, but not including, 1."""


class Section(BaseModel):
    """A section of the configuration: it cannot be changed, and unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    def differs_from_default(self, key: str) -> bool:
        """Tell whether a key has another value than its default."""
        return bool(getattr(self, key) != type(self).model_fields[key].default)
