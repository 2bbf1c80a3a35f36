"""The one place where an RPC is let in, timed, counted and, where it fails, ended with a status.

It takes the bytes of a message with their metadata, deadline and peer, and gives back the bytes of
the answer or the status that ends the call; which front called, nothing here knows.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from gnnrec_server import errors
from gnnrec_server.load import waiting
from gnnrec_server.load.admission import Admission
from gnnrec_server.load.answer_cache import AnswerCache, Reply
from gnnrec_server.load.unread import UnreadAnswers
from gnnrec_server.load.waiting import WaitingRule
from gnnrec_server.process.files import WatchedFiles
from gnnrec_server.query.queries import Limits
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.query.routing import Serving
from gnnrec_server.rpc import calls, statuses, tokens
from gnnrec_server.rpc.calls import Call
from gnnrec_server.rpc.exchanges import exchanges
from gnnrec_server.rpc.statuses import Ending
from gnnrec_server.rpc.streams import Streams
from gnnrec_server.telemetry import logs
from gnnrec_server.telemetry.metrics import Metrics
from gnnrec_server.telemetry.tracing import Tracing
from gnnrec_server.trials.observer import Observer

_RECOMMENDER = "gnnrec.v1.RecommenderService"

# Larger messages list so much that the thread for long work computes them.
_LARGE = 65_536

_log = logging.getLogger("gnnrec.server")

Handler = Callable[[Any, Any], Awaitable[Any]]


@dataclass(frozen=True)
class CallLimits:
    """How much may be under way, and how large it may be."""

    admissions: Mapping[str, Admission]
    """By service; calls of others are not counted."""
    unlimited: Admission
    long_waiting: WaitingRule
    """Of the thread that computes what is large."""
    unread: UnreadAnswers
    max_streams: int
    max_message_bytes: int
    queries: Limits


class Gateway:
    """Wraps every RPC of the server."""

    def __init__(
        self,
        metrics: Metrics,
        limits: CallLimits,
        recommender: Recommender,
        cache: AnswerCache,
        observer: Observer,
        known_tokens: WatchedFiles[Mapping[bytes, str]] | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """Count into `metrics`, keep to `limits`, tell `observer`; with tokens, ask for one."""
        self.metrics = metrics
        self.limits = limits
        self.recommender = recommender
        self.cache = cache
        self.observer = observer
        self.tracing = tracing
        self._known_tokens = known_tokens
        self._streams = Streams(metrics, self.authenticate, limits.max_streams)
        self._reading = asyncio.Lock()
        self.in_flight = 0
        """How many unary RPCs are being answered."""

    def end_streams(self) -> None:
        """End the streams, which would never end of themselves, with UNAVAILABLE."""
        self._streams.end()

    def unary(self, handler: Any, method: str) -> "UnaryMethod":
        """Return how calls of a unary method are answered; `method` as /service/method."""
        return UnaryMethod(self, handler, method)

    def stream(self, handler: Any, method: str) -> Any:
        """Return the handler of a method that streams, wrapped; `method` as /service/method."""
        wrap = self._streams.wrap
        if handler.unary_stream is not None:
            return handler._replace(unary_stream=wrap(handler.unary_stream, method))
        return handler._replace(stream_stream=wrap(handler.stream_stream, method))

    def authenticate(self, service: str, metadata: Mapping[str, Any]) -> str:
        """Return the name of the caller's token, empty where none is asked for."""
        if self._known_tokens is None or service == calls.HEALTH:
            return ""
        return tokens.check(self._known_tokens.value, metadata.get("authorization"))

    async def parse_large(self, parse: Callable[[bytes], Any], raw: bytes, limited: bool) -> Any:
        """Parse a message that takes milliseconds, in which nobody else is answered.

        So it is not read if it would be refused then, and one after the other: whoever came
        meanwhile has a turn between two of them.
        """
        async with self._reading:
            if limited:
                left_s = waiting.DEADLINE.get() - time.monotonic()
                self.limits.long_waiting.check_unread(left_s)
            request = parsed(parse, raw)
            await asyncio.sleep(0)
            return request


class UnaryMethod:
    """The way of every call of one unary RPC, step by step."""

    def __init__(self, gateway: Gateway, handler: Any, method: str) -> None:
        """Wrap a method's handler; `method` is named as /service/method."""
        self._gateway = gateway
        self._method = method
        self._service, _, self._rpc = method.lstrip("/").partition("/")
        self.is_top_k = method == f"/{_RECOMMENDER}/TopK"
        self.is_score = method == f"/{_RECOMMENDER}/Score"
        self._is_recommender = self._service == _RECOMMENDER
        self._handle: Handler = handler.unary_unary
        self._parse, self._serialize = handler.request_deserializer, handler.response_serializer
        limits = gateway.limits
        self._admission = limits.admissions.get(self._service, limits.unlimited)
        self._tracing = gateway.tracing if self._is_recommender else None
        self._counters = gateway.metrics.calls(self._service, self._rpc)

    async def answer(self, call: Call) -> bytes | Ending:
        """Return the bytes that answer a call, or what ends it."""
        ended = self.enter(call)
        return await self.finish(call) if ended is None else ended

    def enter(self, call: Call) -> bytes | Ending | None:
        """Authenticate a call, look for it among the ready answers, and let it in.

        Returns its answer or what ends it, or None for a call that has come in: one of the other
        methods then has to end it.
        """
        self._begin(call)
        try:
            self._authenticate(call)
            if self._is_recommender:
                if call.deadline < math.inf:
                    self._set_deadline(call)
                if (ready := self._cached(call)) is not None:
                    self._account(call)
                    return ready
            self._admit(call)
        except Exception as error:
            return self.fail(call, error)
        return None

    async def finish(self, call: Call, reply: Awaitable[Any] | None = None) -> bytes | Ending:
        """Have the service answer a call that has come in, or wait for its reply, and return it."""
        try:
            answer = self._answered(call) if reply is None else self._replied(call, reply)
            found = await answer
        except asyncio.CancelledError:
            is_late = time.monotonic() >= call.deadline
            call.code = "DEADLINE_EXCEEDED" if is_late else "CANCELLED"
            self._account(call)
            raise
        except Exception as error:
            return self.fail(call, error)
        self._account(call)
        return found

    def read(self, call: Call) -> Any:
        """Return the message of a call that has come in, or raise InvalidQuery."""
        call.request = parsed(self._parse, call.raw)
        return call.request

    def reply(self, call: Call, reply: Reply, serving: Serving) -> bytes | Ending:
        """Return the answer of a call that has come in, made from what `serving` held."""
        try:
            content = self._content(call, reply, serving)
        except Exception as error:
            return self.fail(call, error)
        self._account(call)
        return content

    def fail(self, call: Call, error: Exception) -> Ending:
        """Return the status that ends a call for an error."""
        logs.REQUEST_ID.set(call.request_id)  # others may have come in since
        ending = statuses.end(error, self._method)
        call.code = ending.code
        if type(error) in calls.REJECTED:
            self._gateway.metrics.reject(calls.REJECTED[type(error)])
        if isinstance(error, errors.Overloaded):
            self._admission.note_refusal()
        _let_go(error)
        self._account(call)
        return ending

    def _begin(self, call: Call) -> None:
        call.began = time.perf_counter()
        gateway = self._gateway
        gateway.in_flight += 1
        self._counters.start(gateway.in_flight)

    def _authenticate(self, call: Call) -> None:
        """Name the call and its caller; raise Unauthenticated, or Overloaded for lack of memory."""
        call.request_id = calls.name(call.metadata)
        if self._tracing is not None:
            call.span = self._tracing.begin(self._method, call.metadata.items())
        call.caller = self._gateway.authenticate(self._service, call.metadata)
        if self._gateway.limits.unread.is_full:
            self._admission.make_room()

    def _set_deadline(self, call: Call) -> None:
        """Have the caller's deadline heeded; raise DeadlinePassed if it has passed."""
        if call.deadline <= time.monotonic():
            raise errors.DeadlinePassed("the deadline had passed before the request was looked at")
        waiting.DEADLINE.set(call.deadline)

    def _cached(self, call: Call) -> bytes | None:
        """Return the ready answer to a request of the same bytes, if there is one."""
        reply = self._gateway.cache.get(self._rpc, call.raw)
        if reply is None:
            return None
        call.reply, call.size = reply, len(reply.content)
        return reply.content

    def _admit(self, call: Call) -> None:
        self._admission.enter()
        call.inside = True

    async def _answered(self, call: Call) -> bytes:
        """Parse the message, have the service answer it, and return the answer's bytes."""
        gateway = self._gateway
        serving = gateway.recommender.serving
        if call.request is None and len(call.raw) > _LARGE:
            call.request = await gateway.parse_large(self._parse, call.raw, self._is_recommender)
        elif call.request is None:
            self.read(call)
        return self._content(call, await self._handle(call.request, None), serving)

    async def _replied(self, call: Call, reply: Awaitable[Any]) -> bytes:
        serving = self._gateway.recommender.serving
        return self._content(call, await reply, serving)

    def _content(self, call: Call, reply: Any, serving: Serving) -> bytes:
        """Return a reply's bytes, and keep them for the next; raise AnswerTooLarge."""
        gateway = self._gateway
        is_reply = type(reply) is Reply
        content: bytes = reply.content if is_reply else self._serialize(reply)
        call.reply = reply
        max_bytes = gateway.limits.max_message_bytes
        if len(content) > max_bytes:
            raise errors.AnswerTooLarge(
                f"the answer has {len(content)} bytes, and --max-message-bytes of the "
                f"server permits {max_bytes}; ask for less at a time"
            )
        if is_reply:
            gateway.cache.put(call.raw, reply, serving)
        call.size = len(content)
        return content

    def _account(self, call: Call) -> None:
        """Count the call, trace it, tell trials of it, and log it; it is in until it is read."""
        gateway = self._gateway
        if call.size >= 0 and call.is_followed:
            leave = self._admission.leave if call.inside else None
            gateway.limits.unread.hold(call, call.size, leave)
        elif call.inside:
            self._admission.leave()
        gateway.in_flight -= 1
        seconds = time.perf_counter() - call.began
        self._counters.finish(gateway.in_flight, call.code, seconds)
        if self._is_recommender:
            version, variant = self._asked_of(call, seconds)
            gateway.metrics.count(self._rpc, call.code, seconds, version, variant)
            if self._tracing is not None and call.span is not None:
                k = getattr(call.request, "k", None)
                self._tracing.end(call.span, call.code, version, variant, k)
        if _log.isEnabledFor(logging.DEBUG):
            told = {"rpc": self._method, "code": call.code, "duration_s": round(seconds, 6)}
            _log.debug(
                "%s %s in %.2f ms", self._method, call.code, 1000 * seconds,
                extra=told | {"caller": call.caller},
            )  # fmt: skip
        call.release()

    def _asked_of(self, call: Call, seconds: float) -> tuple[str, str]:
        """Return the version and variant that answered or were asked, each empty if not served."""
        gateway, reply = self._gateway, call.reply
        is_observed = gateway.observer.is_needed
        if type(reply) is Reply and reply.version and not is_observed:
            return reply.version, reply.variant
        named = call.request if call.size < 0 else reply
        version, alias, variant = (
            getattr(named, name, "") for name in ("version", "alias", "variant")
        )
        if is_observed and named is not None:
            version = self._observe(call, seconds) or version
        if not version:
            version = gateway.recommender.serving.version_of(alias)
        return gateway.metrics.counted(version, variant)

    def _observe(self, call: Call, seconds: float) -> str:
        """Tell the trials of a call; return the version that failed one which names none."""
        gateway, has_failed = self._gateway, call.size < 0
        reply = None if has_failed else call.reply
        seen = exchanges(
            self._rpc, call.raw, call.request, reply, call.code, seconds, gateway.limits.queries
        )
        failed_of = ""
        for exchange in seen:
            gateway.observer.see(exchange)
            if has_failed and not exchange.asked.version:
                failed_of = gateway.observer.version_for(exchange.asked)
        return failed_of


def parsed(parse: Callable[[bytes], Any], raw: bytes) -> Any:
    """Return the message of some bytes, or raise InvalidQuery."""
    try:
        return parse(raw)
    except DecodeError:
        raise errors.InvalidQuery("request", "is not a message of this RPC") from None


def _let_go(error: BaseException | None) -> None:
    """Let go of the frames that an error, and what led to it, passed through.

    They hold the request, which may be large, in a cycle: gRPC keeps what is raised
    while the error is handled, and a future its exception.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
