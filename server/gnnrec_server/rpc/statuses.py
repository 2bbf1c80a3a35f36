"""Errors as callers see them: each class has its status code and its google.rpc details here."""

import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from gnnrec_registry.errors import RegistryError
from gnnrec_server import errors
from gnnrec_server.telemetry.logs import printable

_DOMAIN = "gnnrec"
_RETRY_STEP_S = 0.05

_log = logging.getLogger("gnnrec.server")

# Every ServingError has a line here; a test walks the classes.
MAPPING: dict[type[Exception], tuple[int, str]] = {
    errors.InvalidQuery: (code_pb2.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    errors.UnknownUser: (code_pb2.NOT_FOUND, "USER_NOT_FOUND"),
    errors.UnknownItem: (code_pb2.NOT_FOUND, "ITEM_NOT_FOUND"),
    errors.UnknownVersion: (code_pb2.NOT_FOUND, "VERSION_NOT_FOUND"),
    errors.MissingVariant: (code_pb2.FAILED_PRECONDITION, "VARIANT_NOT_AVAILABLE"),
    errors.CannotEmbed: (code_pb2.FAILED_PRECONDITION, "CANNOT_EMBED"),
    errors.VersionNotLoaded: (code_pb2.FAILED_PRECONDITION, "VERSION_NOT_LOADED"),
    errors.MissingAttributes: (code_pb2.FAILED_PRECONDITION, "ATTRIBUTES_NOT_AVAILABLE"),
    errors.NotReady: (code_pb2.UNAVAILABLE, "NOT_READY"),
    errors.UnservableVersion: (code_pb2.UNAVAILABLE, "NOT_READY"),
    errors.CannotStart: (code_pb2.UNAVAILABLE, "NOT_READY"),
    errors.Overloaded: (code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED"),
    errors.DeadlinePassed: (code_pb2.DEADLINE_EXCEEDED, "DEADLINE_PASSED"),
    errors.AnswerTooLarge: (code_pb2.RESOURCE_EXHAUSTED, "ANSWER_TOO_LARGE"),
    errors.UnknownService: (code_pb2.NOT_FOUND, "SERVICE_NOT_FOUND"),
    errors.Unauthenticated: (code_pb2.UNAUTHENTICATED, "TOKEN_INVALID"),
    RegistryError: (code_pb2.UNAVAILABLE, "REGISTRY_UNREADABLE"),
    # a method of a stock service that nobody has written
    NotImplementedError: (code_pb2.UNIMPLEMENTED, "UNIMPLEMENTED"),
}

# A status travels in metadata, of which clients take 8 kB. There the message stands twice: with
# every byte beyond ASCII as three, and with what violates a field once more, in base64.
_LONGEST_TEXT = 600
_LONGEST_FIELD = 200


@dataclass(frozen=True)
class Ending:
    """What ends a call: the code by name and as gRPC knows it, a text, metadata with details."""

    code: str
    status: Any
    text: str
    metadata: tuple[tuple[str, str | bytes], ...]


def end(error: Exception, where: str) -> Ending:
    """Return how to end the call that an error ends; see report."""
    if isinstance(error, errors.Overloaded):
        # Under overload most calls end so, and none may cost much.
        steps = max(1, round(error.retry_after_s / _RETRY_STEP_S))
        return _shed(str(error), min(steps, 1000))
    return _ending(report(error, where))


@lru_cache(2048)
def _shed(text: str, steps: int) -> Ending:
    return _ending(to_status(errors.Overloaded(text, steps * _RETRY_STEP_S)))


def _ending(status: status_pb2.Status) -> Ending:
    rich = rpc_status.to_status(status)
    name = code_pb2.Code.Name(status.code)
    return Ending(name, rich.code, rich.details, tuple(rich.trailing_metadata))


def report(error: Exception, where: str) -> status_pb2.Status:
    """Return the status of an error; what only the log may say of a defect, it says there."""
    status = to_status(error)
    if status.code == code_pb2.INTERNAL:
        _log.error("a defect in %s", where, exc_info=error)
    return status


def to_status(error: Exception) -> status_pb2.Status:
    """Return the status, with google.rpc details, that tells a caller of an error."""
    for kind in type(error).__mro__:
        if kind in MAPPING:
            code, reason = MAPPING[kind]
            break
    else:
        return _status(
            code_pb2.INTERNAL, "an error in the server; its log has the details", "INTERNAL"
        )
    if isinstance(error, errors.Unauthenticated):
        reason = error.reason
    status = _status(code, str(error) or "this method is not there", reason)
    if isinstance(error, errors.InvalidQuery):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=shown(error.field, _LONGEST_FIELD),
            description=shown(error.problem, _LONGEST_TEXT),
        )
        status.details.append(_pack(error_details_pb2.BadRequest(field_violations=[violation])))
    if isinstance(error, errors.Overloaded):
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(1e9 * error.retry_after_s))
        status.details.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status


def _status(code: int, message: str, reason: str) -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(reason=reason, domain=_DOMAIN)
    text = shown(message, _LONGEST_TEXT)
    return status_pb2.Status(code=code, message=text, details=[_pack(info)])


def shown(text: str, most: int) -> str:
    """Return a text of at most so many bytes of UTF-8, with escapes for what cannot be printed.

    What callers send is quoted in messages and logs; a line break must not begin a line there.
    """
    text = printable(text)
    content = text.encode()
    if len(content) <= most:
        return text
    return content[: most - 3].decode(errors="ignore") + "..."


def _pack(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
