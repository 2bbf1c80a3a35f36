"""Finds out whether a store honours conditional writes; some accept and ignore the conditions."""

from collections.abc import Callable

from gnnrec_registry.errors import StoreRefused, StoreUnreachable
from gnnrec_registry.remote.failures import code_of

PROBE = ".conditional-writes"
_CONTENT = b"gnnrec writes this object to see whether the store keeps conditions.\n"
# What stores answer to a condition or a header that they do not support.
_UNKNOWN = {"NotImplemented", "501", "InvalidArgument", "InvalidRequest", "400"}


class ConditionFailed(Exception):
    """A conditional write was refused, for the object has changed."""


def keeps_conditions(
    create: Callable[[str, bytes], None],
    replace: Callable[[str, bytes, str], None],
    wrong_tag: str,
) -> bool:
    """Try writes that a store with conditions must refuse; return whether it refused them.

    They are a second creation of an object, and a replacement with a wrong tag.
    """
    try:
        try:
            create(PROBE, _CONTENT)
        except FileExistsError:
            return _fails(lambda: replace(PROBE, _CONTENT, wrong_tag))
        return _fails(lambda: create(PROBE, _CONTENT)) and _fails(
            lambda: replace(PROBE, _CONTENT, wrong_tag)
        )
    except (StoreRefused, StoreUnreachable) as error:
        if code_of(error) in _UNKNOWN:
            return False
        raise


def _fails(write: Callable[[], None]) -> bool:
    try:
        write()
    except (FileExistsError, ConditionFailed):
        return True
    return False
