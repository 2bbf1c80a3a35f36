"""The calls of a server: the request message, the method and the reading of the answer of each."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, ParamSpec, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gnnrec import errors
from gnnrec.client import answers
from gnnrec.client.ids import Id, id_list
from gnnrec.client.newcomers import NewItem, NewUser
from gnnrec.client.queries import Query, set_subject, set_target
from gnnrec_protos.v1 import model_pb2, model_pb2_grpc
from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_protos.v1 import recommender_pb2_grpc as rpc

Answer = TypeVar("Answer")
Fields = ParamSpec("Fields")


class Stubs:
    """The methods of a server over a channel, which may be a blocking or an asyncio one."""

    def __init__(self, channel: Any) -> None:
        recommender = rpc.RecommenderServiceStub(channel)
        model = model_pb2_grpc.ModelServiceStub(channel)
        self.methods: dict[str, Callable[..., Any]] = {
            "TopK": recommender.TopK,
            "BatchTopK": recommender.BatchTopK,
            "Score": recommender.Score,
            "GetModel": model.GetModel,
            "ListVersions": model.ListVersions,
            "Check": health_pb2_grpc.HealthStub(channel).Check,
        }


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """A call that is ready to be made; `read` converts the response."""

    method: str
    request: Message
    read: Callable[[Any], Answer]


def top_k_by(fields: Callable[Fields, Query]) -> Callable[Fields, Call[answers.TopK]]:
    """Return a function that makes a TopK call from the arguments of a query."""

    @functools.wraps(fields, assigned=(), updated=())
    def top_k(*args: Fields.args, **kwargs: Fields.kwargs) -> Call[answers.TopK]:
        """Return the k best items; the arguments are those of Query."""
        return Call("TopK", fields(*args, **kwargs).to_message(), _top_k)

    return top_k


top_k = top_k_by(Query)


def batch_top_k(queries: Sequence[Query]) -> Call[tuple[answers.TopK | errors.Error, ...]]:
    """Return an answer or an Error for each query, in their order.

    Raises Error only when the call failed as a whole.
    """
    request = pb.BatchTopKRequest(requests=[query.to_message() for query in queries])

    def read(response: pb.BatchTopKResponse) -> tuple[answers.TopK | errors.Error, ...]:
        return tuple(
            errors.from_status(entry.error)
            if entry.WhichOneof("result") == "error"
            else _top_k(entry.response)
            for entry in response.entries
        )

    return Call("BatchTopK", request, read)


def score(
    item_ids: Sequence[Id],
    *,
    user_id: Id | None = None,
    item_id: Id | None = None,
    embedding: Sequence[float] | None = None,
    new_user: NewUser | None = None,
    new_item: NewItem | None = None,
    variant: str = "",
    version: str = "",
    alias: str = "",
) -> Call[answers.Scores]:
    """Return the scores of items, in their order; the other arguments are as in Query."""
    request = pb.ScoreRequest(item_ids=id_list("item_ids", item_ids), variant=variant)
    set_subject(request, user_id, item_id, embedding, new_user, new_item)
    set_target(request, version, alias)

    def read(response: pb.ScoreResponse) -> answers.Scores:
        scored = zip(request.item_ids, response.scores, response.known, strict=True)
        return answers.Scores(
            response.version,
            response.variant,
            tuple(answers.Score(item, value if known else None) for item, value, known in scored),
            tuple(response.unknown_item_ids),
        )

    return Call("Score", request, read)


def get_model() -> Call[answers.Model]:
    """Return what the server has loaded, with its metrics, and the registry's aliases."""
    return Call("GetModel", model_pb2.GetModelRequest(), _model)


def list_versions() -> Call[tuple[answers.VersionStatus, ...]]:
    """Return the registry's versions, newest first, with their states on the server."""
    return Call("ListVersions", model_pb2.ListVersionsRequest(), _version_statuses)


def health(service: str = "") -> Call[bool]:
    """Return whether a service reports SERVING; an empty name means the whole server."""

    def read(response: health_pb2.HealthCheckResponse) -> bool:
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    return Call("Check", health_pb2.HealthCheckRequest(service=service), read)


def _top_k(response: pb.TopKResponse) -> answers.TopK:
    nothing = [None] * len(response.item_ids)
    items = zip(
        response.item_ids,
        response.scores,
        response.probabilities or nothing,
        response.titles or nothing,
        strict=True,
    )
    return answers.TopK(
        response.version,
        response.variant,
        tuple(answers.Recommendation(*item) for item in items),
        tuple(response.unknown_item_ids),
    )


def _model(response: model_pb2.GetModelResponse) -> answers.Model:
    return answers.Model(
        response.model,
        response.alias,
        response.serving_version,
        tuple(_loaded(version) for version in response.versions),
        tuple(
            answers.Alias(
                alias.name,
                alias.version,
                alias.generation,
                _moment(alias.update_time),
                alias.served_version,
                alias.candidate_version,
            )
            for alias in response.aliases
        ),
        tuple(_trial(trial) for trial in response.trials),
        response.registry_problem,
    )


def _trial(trial: model_pb2.Trial) -> answers.Trial:
    compared = trial.comparison
    return answers.Trial(
        alias=trial.alias,
        stable=_side(trial.stable),
        candidate=_side(trial.candidate),
        percent=trial.percent,
        shadow=trial.shadow,
        shadowed=answers.Shadowed(
            compared.compared_count,
            compared.dropped_count,
            compared.failed_count,
            compared.mean_overlap,
            compared.mean_score_drift,
            compared.p50_latency_ms,
            compared.p99_latency_ms,
            compared.score_count,
        ),
        problem=trial.problem,
        began_at=_moment(trial.begin_time),
    )


def _side(side: model_pb2.TrialSide) -> answers.TrialSide:
    return answers.TrialSide(
        side.version,
        side.request_count,
        side.error_count,
        side.p50_latency_ms,
        side.p99_latency_ms,
    )


def _loaded(version: model_pb2.LoadedVersion) -> answers.LoadedVersion:
    return answers.LoadedVersion(
        version=version.version,
        created_at=_moment(version.create_time),
        activated_at=_moment(version.activate_time),
        default_variant=version.default_variant,
        variants=tuple(
            answers.Variant(
                variant.name,
                variant.embedding_dim,
                variant.index,
                _metrics(variant.metrics),
                variant.index_recall,
            )
            for variant in version.variants
        ),
        users=version.user_count,
        items=version.item_count,
        interactions=version.interaction_count,
        baselines=_metrics(version.baselines),
        aliases=tuple(version.aliases),
        attributes=tuple(
            answers.Attribute(
                attribute.name,
                _word(model_pb2.AttributeKind.Name(attribute.kind), "ATTRIBUTE_KIND_"),
            )
            for attribute in version.attributes
        ),
    )


def _metrics(entries: Sequence[model_pb2.Metrics]) -> tuple[answers.Metrics, ...]:
    return tuple(answers.Metrics(entry.name, entry.split, dict(entry.values)) for entry in entries)


def _version_statuses(
    response: model_pb2.ListVersionsResponse,
) -> tuple[answers.VersionStatus, ...]:
    return tuple(
        answers.VersionStatus(
            version=version.version,
            state=_word(model_pb2.VersionState.Name(version.state), "VERSION_STATE_"),
            reason=version.reason,
            created_at=_moment(version.create_time) if version.HasField("create_time") else None,
            aliases=tuple(version.aliases),
        )
        for version in response.versions
    )


def _word(name: str, prefix: str) -> str:
    """Return an enum value's name as a plain word: ATTRIBUTE_KIND_TEXT is text."""
    return name.removeprefix(prefix).lower()


def _moment(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
