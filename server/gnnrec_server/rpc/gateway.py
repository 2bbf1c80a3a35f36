"""The one place where an RPC is let in, timed, counted and, where it fails, ended with a status.

Of ours nothing else ends a call; the stock services may. It wraps the handlers before they are
given to gRPC: an interceptor, which does the same for each call anew, costs a tenth of all that an
RPC costs.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from google.protobuf.message import DecodeError
from grpc import aio

from gnnrec_server import errors
from gnnrec_server.load import waiting
from gnnrec_server.load.admission import Admission
from gnnrec_server.load.answer_cache import AnswerCache, Reply
from gnnrec_server.load.unread import UnreadAnswers
from gnnrec_server.load.waiting import WaitingRule
from gnnrec_server.process.files import WatchedFiles
from gnnrec_server.query.queries import Limits
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.rpc import calls, statuses, tokens
from gnnrec_server.rpc.exchanges import exchanges
from gnnrec_server.rpc.streams import Streams
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

    def wrap(self, handler: Any, method: str) -> Any:
        """Return a method's handler, wrapped; `method` is named as /service/method."""
        if handler.unary_unary is not None:
            # The message is parsed once the caller is let in, and some answers are bytes already.
            answer = UnaryMethod(self, handler, method).answer
            return handler._replace(
                unary_unary=answer, request_deserializer=None, response_serializer=None
            )
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


class _Call:
    """One call on its way through the gateway: what has been found out about it so far."""

    __slots__ = (
        "began", "caller", "code", "context", "inside", "raw", "reply", "request",
        "size", "span",
    )  # fmt: skip

    def __init__(self, raw: bytes, context: Any, began: float) -> None:
        self.raw = raw
        self.context = context
        self.began = began
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

    def release(self) -> None:
        """Let go of the messages: gRPC keeps what aborts a call until garbage is looked for."""
        self.raw, self.request, self.reply, self.context = b"", None, None, None


class UnaryMethod:
    """The way of every call of one unary RPC, step by step."""

    def __init__(self, gateway: Gateway, handler: Any, method: str) -> None:
        """Wrap a method's handler; `method` is named as /service/method."""
        self._gateway = gateway
        self._method = method
        self._service, _, self._rpc = method.lstrip("/").partition("/")
        self._is_recommender = self._service == _RECOMMENDER
        self._handle: Handler = handler.unary_unary
        self._parse, self._serialize = handler.request_deserializer, handler.response_serializer
        limits = gateway.limits
        self._admission = limits.admissions.get(self._service, limits.unlimited)
        self._tracing = gateway.tracing if self._is_recommender else None
        self._counters = gateway.metrics.calls(self._service, self._rpc)

    async def answer(self, raw: bytes, context: Any) -> bytes:
        """Authenticate, look among the ready answers, admit, parse, answer, and account for it."""
        call = self._begin(raw, context)
        raw = b""  # see _Call.release
        try:
            self._authenticate(call)
            if self._is_recommender:
                calls.set_deadline(context)
                if (ready := self._cached(call)) is not None:
                    return ready
            self._admit(call)
            return await self._answered(call)
        except asyncio.CancelledError:
            call.code = "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"
            raise
        except aio.AbortError:  # a stock servicer has answered for itself
            call.code = calls.code_name(context.code())
            raise
        except Exception as error:
            await self._end(call, error)
        finally:
            self._account(call)

    def _begin(self, raw: bytes, context: Any) -> _Call:
        call = _Call(raw, context, time.perf_counter())
        gateway = self._gateway
        gateway.in_flight += 1
        self._counters.start(gateway.in_flight)
        return call

    def _authenticate(self, call: _Call) -> None:
        """Name the call and its caller; raise Unauthenticated, or Overloaded for lack of memory."""
        metadata = dict(call.context.invocation_metadata())
        calls.set_request_id(metadata, call.context)
        if self._tracing is not None:
            call.span = self._tracing.begin(self._method, metadata.items())
        call.caller = self._gateway.authenticate(self._service, metadata)
        if self._gateway.limits.unread.is_full:
            self._admission.make_room()

    def _cached(self, call: _Call) -> bytes | None:
        """Return the ready answer to a request of the same bytes, if there is one."""
        reply = self._gateway.cache.get(self._rpc, call.raw)
        if reply is None:
            return None
        call.reply, call.size = reply, len(reply.content)
        return reply.content

    def _admit(self, call: _Call) -> None:
        self._admission.enter()
        call.inside = True

    async def _answered(self, call: _Call) -> bytes:
        """Parse the message, have the service answer it, and return the answer's bytes."""
        gateway, raw = self._gateway, call.raw
        serving = gateway.recommender.serving
        if len(raw) > _LARGE:
            call.request = await gateway.parse_large(self._parse, raw, self._is_recommender)
        else:
            call.request = parsed(self._parse, raw)
        reply = await self._handle(call.request, call.context)
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
            gateway.cache.put(raw, reply, serving)
        call.size = len(content)
        return content

    async def _end(self, call: _Call, error: Exception) -> NoReturn:
        """End the call with the status of an error."""
        ending = statuses.end(error, self._method)
        call.code = ending.code
        if type(error) in calls.REJECTED:
            self._gateway.metrics.reject(calls.REJECTED[type(error)])
        if isinstance(error, errors.Overloaded):
            self._admission.note_refusal()
        _let_go(error)
        await calls.abort(call.context, ending)

    def _account(self, call: _Call) -> None:
        """Count the call, trace it, tell trials of it, and log it; it is in until it is read."""
        gateway = self._gateway
        if call.size >= 0:
            leave = self._admission.leave if call.inside else None
            gateway.limits.unread.hold(call.context, call.size, leave)
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

    def _asked_of(self, call: _Call, seconds: float) -> tuple[str, str]:
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

    def _observe(self, call: _Call, seconds: float) -> str:
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
