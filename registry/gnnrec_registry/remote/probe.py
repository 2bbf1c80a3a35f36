"""Whether a store keeps the conditions of conditional writes: some accept and ignore them."""

from collections.abc import Callable

from gnnrec_registry.errors import StoreRefused, StoreUnreachable
from gnnrec_registry.remote.failures import code_of

PROBE = ".conditional-writes"
_CONTENT = b"gnnrec writes this object to see whether the store keeps conditions.\n"
# Not implemented, and what stores answer to headers that they do not know.
_UNKNOWN = {"NotImplemented", "501", "InvalidArgument", "InvalidRequest", "400"}


class ConditionFailed(Exception):
    """A conditional write found the object changed."""


def keeps_conditions(
    create: Callable[[str, bytes], None],
    replace: Callable[[str, bytes, str], None],
    wrong_tag: str,
) -> bool:
    """Write an object twice as new, and once in place of one with another tag: two must fail."""
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
