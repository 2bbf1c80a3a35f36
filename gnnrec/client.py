"""A typed client for Python callers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import grpc
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from gnnrec.newcomers import NewItem, NewUser
from protos.gnnrec.v1 import model_pb2, model_pb2_grpc
from protos.gnnrec.v1 import recommender_pb2 as pb
from protos.gnnrec.v1 import recommender_pb2_grpc as rpc

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Error(Exception):
    """A call that failed. `code` is gRPC's, such as "NOT_FOUND"; `reason` is the server's own."""

    def __init__(self, code: str, reason: str, message: str) -> None:
        """Keep what the server said."""
        super().__init__(message)
        self.code = code
        self.reason = reason


class Recommendation(NamedTuple):
    """One item of an answer. probability and title are there if they were asked for."""

    item_id: str
    score: float
    probability: float | None
    title: str | None


class Score(NamedTuple):
    """The score of one requested item; None if the version does not know the item."""

    item_id: str
    score: float | None


@dataclass(frozen=True)
class TopK:
    """The best items, best first, and the version and variant that found them."""

    version: str
    variant: str
    items: tuple[Recommendation, ...]
    unknown_item_ids: tuple[str, ...]


@dataclass(frozen=True)
class Scores:
    """The scores in the order of the request, and the version and variant that gave them."""

    version: str
    variant: str
    items: tuple[Score, ...]
    unknown_item_ids: tuple[str, ...]
    """Items that a new user has interacted with and the version does not know."""


class Client:
    """A connection to a gnnrec server; close it, or use it in a with statement.

    Every call raises Error when it fails, and gives up after `timeout_s`.
    """

    def __init__(
        self, address: str = "127.0.0.1:50051", *, timeout_s: float = 5.0, wait: bool = False
    ) -> None:
        """Connect to HOST:PORT. With `wait`, a call waits for a server that is still starting."""
        self._channel = grpc.insecure_channel(address)
        self._recommender = rpc.RecommenderServiceStub(self._channel)
        self._model = model_pb2_grpc.ModelServiceStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._address = address
        self._timeout_s = timeout_s
        self._wait = wait

    def top_k(
        self,
        user_id: str | None = None,
        *,
        item_id: str | None = None,
        embedding: Sequence[float] | None = None,
        new_user: NewUser | None = None,
        new_item: NewItem | None = None,
        k: int = 10,
        include_seen: bool = False,
        exclude_item_ids: Sequence[str] = (),
        allow_item_ids: Sequence[str] = (),
        with_probabilities: bool = False,
        with_titles: bool = False,
        variant: str = "",
    ) -> TopK:
        """Return the k best items for one of user_id, item_id, embedding, new_user, new_item."""
        request = pb.TopKRequest(
            k=k,
            include_seen=include_seen,
            exclude_item_ids=exclude_item_ids,
            allow_item_ids=allow_item_ids,
            with_probabilities=with_probabilities,
            with_titles=with_titles,
            variant=variant,
        )
        _set_query(request, user_id, item_id, embedding, new_user, new_item)
        response = self._call(self._recommender.TopK, request)
        nothing = [None] * len(response.item_ids)
        items = zip(
            response.item_ids,
            response.scores,
            response.probabilities or nothing,
            response.titles or nothing,
            strict=True,
        )
        return TopK(
            response.version,
            response.variant,
            tuple(Recommendation(*item) for item in items),
            tuple(response.unknown_item_ids),
        )

    def score(
        self,
        item_ids: Sequence[str],
        *,
        user_id: str | None = None,
        item_id: str | None = None,
        embedding: Sequence[float] | None = None,
        new_user: NewUser | None = None,
        new_item: NewItem | None = None,
        variant: str = "",
    ) -> Scores:
        """Return the scores of items; for whom is told as in top_k."""
        request = pb.ScoreRequest(item_ids=item_ids, variant=variant)
        _set_query(request, user_id, item_id, embedding, new_user, new_item)
        response = self._call(self._recommender.Score, request)
        scored = zip(item_ids, response.scores, response.known, strict=True)
        return Scores(
            response.version,
            response.variant,
            tuple(Score(item, score if known else None) for item, score, known in scored),
            tuple(response.unknown_item_ids),
        )

    def model(self) -> dict[str, Any]:
        """Return what the server has loaded, with its metrics: GetModelResponse as JSON values."""
        return _as_json(self._call(self._model.GetModel, model_pb2.GetModelRequest()))

    def versions(self) -> list[dict[str, Any]]:
        """Return the registry's versions, newest first, with their states on the server."""
        response = self._call(self._model.ListVersions, model_pb2.ListVersionsRequest())
        return [_as_json(version) for version in response.versions]

    def healthy(self, service: str = "") -> bool:
        """Tell whether the server says SERVING for a service; empty text asks for all of it."""
        request = health_pb2.HealthCheckRequest(service=service)
        response = self._call(self._health.Check, request)
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, call: Callable[..., _Response], request: object) -> _Response:
        try:
            return call(request, timeout=self._timeout_s, wait_for_ready=self._wait)
        except grpc.RpcError as error:
            raise self._explain(error) from None

    def _explain(self, error: Any) -> Error:
        code, message, reason = error.code().name, error.details() or "", ""
        status = rpc_status.from_call(error)
        for detail in status.details if status else ():
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                reason = info.reason
        if not reason and code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
            message = (
                f"no answer from a server at {self._address} within {self._timeout_s:g} s "
                f"({code}); is one running? gnnrec serve starts one"
            )
        return Error(code, reason, message)


def _set_query(
    request: pb.TopKRequest | pb.ScoreRequest,
    user_id: str | None,
    item_id: str | None,
    embedding: Sequence[float] | None,
    new_user: NewUser | None,
    new_item: NewItem | None,
) -> None:
    given = [value is not None for value in (user_id, item_id, embedding, new_user, new_item)]
    if sum(given) != 1:
        raise ValueError("name exactly one of user_id, item_id, embedding, new_user, new_item")
    if user_id is not None:
        request.user_id = user_id
    elif item_id is not None:
        request.item_id = item_id
    elif new_user is not None:
        request.new_user.CopyFrom(new_user.to_message())
    elif new_item is not None:
        request.new_item.CopyFrom(new_item.to_message())
    else:
        request.embedding.values.extend(embedding or ())
        request.embedding.SetInParent()


def _as_json(message: Any) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)
