"""A TOML file to a Config, with errors that name the file and the key."""

import tomllib
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gnnrec_training.config.section import Section
from gnnrec_training.config.training import Config
from gnnrec_training.errors import InvalidConfig


def load(path: Path) -> Config:
    """Read a TOML file; a problem raises InvalidConfig that names the file and the key."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InvalidConfig(f"no configuration at {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(f"{path} is not TOML: {error}") from None
    return resolve(raw, str(path))


def resolve(raw: dict[str, Any], name: str) -> Config:
    """Return the configuration for values as a TOML file holds them; `raw` may be changed.

    A hybrid without [lightgcn] gets one of its defaults. A problem raises InvalidConfig, which says
    `name` for the configuration and names the key.
    """
    if "hybrid" in raw:
        raw.setdefault("lightgcn", {})
    problems: list[str] = []
    while True:
        try:
            config = Config.model_validate(raw)
        except ValidationError as error:
            errors = error.errors()
            problems += map(_problem, errors)
            unknown = [one["loc"] for one in errors if one["type"] == "extra_forbidden"]
            if len(unknown) == len(errors) and all(_drop(raw, place) for place in unknown):
                continue  # pydantic looks for problems between keys only where all keys are known
            raise InvalidConfig(f"{name}: {'; '.join(problems)}") from None
        if problems:
            raise InvalidConfig(f"{name}: {'; '.join(problems)}")
        return config


def _drop(raw: Any, place: tuple[int | str, ...]) -> bool:
    """Remove the key at a place of the raw values, and tell whether it was there."""
    for step in place[:-1]:
        try:
            raw = raw[step]
        except (KeyError, IndexError, TypeError):
            continue  # pydantic's tag for a variant of a union, not a key of the file
    return isinstance(raw, dict) and raw.pop(place[-1], None) is not None


def _problem(error: ErrorDetails) -> str:
    """Return a sentence about one error: the key, what is wrong, and a key of a similar name."""
    steps = [str(step) for step in error["loc"]]
    key, message = ".".join(steps), error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        near = get_close_matches(steps[-1], _keys_beside(steps), 1)
        meant = f"; is it {'.'.join([*steps[:-1], *near])}?" if near else ""
        return f"{key} is no key{meant}"
    return f"{key}: {message}" if key else message


def _keys_beside(steps: list[str]) -> list[str]:
    """Return all keys of the section that holds the key at the end of `steps`."""
    section: Any = Config
    for step in steps[:-1]:
        if step not in section.model_fields:
            continue  # a position in a list, or pydantic's tag for a variant of a union
        annotation = section.model_fields[step].annotation
        section = next(iter(_sections(annotation)), None)
        if section is None:
            return []
    return list(section.model_fields)


def _sections(annotation: Any) -> Iterator[type[Section]]:
    """Yield the Section classes within a type annotation, such as `FooConfig | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)
