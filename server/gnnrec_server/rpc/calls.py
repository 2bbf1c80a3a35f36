"""A call as its front hands it over; what every call has: a request id, an end with a status."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from gnnrec_server import errors
from gnnrec_server.rpc.statuses import Ending
from gnnrec_server.telemetry import logs
from gnnrec_server.telemetry.metrics import Reason

HEALTH = "grpc.health.v1.Health"
REQUEST_ID = "x-request-id"

REJECTED: dict[type[Exception], Reason] = {
    errors.Overloaded: "overloaded",
    errors.DeadlinePassed: "deadline",
    errors.Unauthenticated: "unauthenticated",
    errors.NotReady: "not_ready",
}
"""The errors by which a request is turned away before it is looked at, as metrics count them."""


class Call:
    """A unary call on its way through the gateway: what its front tells of it, and what is found.

    Each front has its own subclass, which may know when an answer has been read.
    """

    is_followed = True
    """Whether it is known when the answer is read; else it counts as read once it is given."""

    __slots__ = (
        "began", "caller", "code", "deadline", "inside", "metadata", "peer", "raw", "reply",
        "request", "request_id", "size", "span",
    )  # fmt: skip

    def __init__(
        self, raw: bytes, metadata: Mapping[str, Any], peer: str, deadline: float = math.inf
    ) -> None:
        """Take a message's bytes, who sent them, and when they give up, by time.monotonic."""
        self.raw = raw
        self.metadata = metadata
        self.peer = peer
        self.deadline = deadline
        self.began = 0.0
        """When the gateway took it, by time.perf_counter."""
        self.request_id = ""
        """Sent back in the trailing metadata, whatever the answer."""
        self.code = "OK"
        self.caller = ""
        """The name of the caller's token."""
        self.inside = False
        """Whether it counts as a request in the server."""
        self.size = -1
        """How many bytes the answer has, -1 where it has failed."""
        self.request: Any = None
        """The message, once it is parsed."""
        self.reply: Any = None
        """The Reply or the message that answers it, once there is one."""
        self.span: Any = None

    def when_read(self, then: Callable[[], None]) -> None:
        """Have `then` called once the answer is written, or the call is gone."""
        raise NotImplementedError

    def release(self) -> None:
        """Let go of the messages: a front may keep a call until garbage is looked for."""
        self.raw, self.request, self.reply = b"", None, None


def name(metadata: Mapping[str, Any]) -> str:
    """Return the id of a call, as its caller named it or afresh; the log has it from now on."""
    made = logs.request_id(metadata.get(REQUEST_ID))
    logs.REQUEST_ID.set(made)
    return made


async def abort(context: Any, ending: Ending, request_id: str) -> NoReturn:
    """End the call that a context of grpc.aio stands for, under its request id."""
    await context.abort(ending.status, ending.text, (*ending.metadata, (REQUEST_ID, request_id)))
    raise AssertionError("abort raises")
