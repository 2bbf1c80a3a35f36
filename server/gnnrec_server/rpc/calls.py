"""What every call has, unary or a stream: a request id, a deadline, and an end with a status."""

import time
from collections.abc import Mapping
from typing import Any, NoReturn

import grpc
from google.rpc import code_pb2

from gnnrec_server import errors
from gnnrec_server.load import waiting
from gnnrec_server.rpc.statuses import Ending
from gnnrec_server.telemetry import logs
from gnnrec_server.telemetry.metrics import Reason

HEALTH = "grpc.health.v1.Health"
_REQUEST_ID = "x-request-id"

REJECTED: dict[type[Exception], Reason] = {
    errors.Overloaded: "overloaded",
    errors.DeadlinePassed: "deadline",
    errors.Unauthenticated: "unauthenticated",
    errors.NotReady: "not_ready",
}
"""The errors by which a request is turned away before it is looked at, as metrics count them."""


def set_request_id(metadata: Mapping[str, Any], context: Any) -> None:
    """Name the call, as its caller did or afresh, for the log and in the trailing metadata."""
    made = logs.request_id(metadata.get(_REQUEST_ID))
    logs.REQUEST_ID.set(made)
    context.set_trailing_metadata(((_REQUEST_ID, made),))


def set_deadline(context: Any) -> None:
    """Set waiting.DEADLINE to the caller's deadline; raise DeadlinePassed if it has passed."""
    remaining_s = context.time_remaining()
    if remaining_s is None:
        return
    if remaining_s <= 0:
        raise errors.DeadlinePassed("the deadline had passed before the request was looked at")
    waiting.DEADLINE.set(time.monotonic() + remaining_s)


async def abort(context: Any, ending: Ending) -> NoReturn:
    """End the call, under its request id."""
    request_id = (_REQUEST_ID, logs.REQUEST_ID.get())
    await context.abort(ending.status, ending.text, (*ending.metadata, request_id))
    raise AssertionError("abort raises")


def code_name(code: Any) -> str:
    """Return the name of a status code, of whichever type."""
    if code is None:
        return "UNKNOWN"
    return code.name if isinstance(code, grpc.StatusCode) else code_pb2.Code.Name(code)
