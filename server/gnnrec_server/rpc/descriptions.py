"""What is served, as the messages of ModelService."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from gnnrec_protos.v1 import model_pb2
from gnnrec_registry import Move
from gnnrec_registry.features.attributes import AttributeEntry
from gnnrec_registry.versions.manifest import Metrics
from gnnrec_server.query.routing import Resident, Serving
from gnnrec_server.rollout.catalogue import VersionState
from gnnrec_server.trials.counters import Count, RequestKind, TrialTotals
from gnnrec_server.trials.trials import Trial


def model_response(
    serving: Serving,
    aliases: Mapping[str, Move],
    registry_problem: str,
    trials: Sequence[tuple[Trial, TrialTotals]],
) -> model_pb2.GetModelResponse:
    """Describe the loaded versions, the current one first, the registry's aliases, the trials."""
    current = serving.current.manifest
    residents = sorted(
        serving.residents.items(), key=lambda entry: (entry[0] != current.version, entry[0])
    )
    return model_pb2.GetModelResponse(
        model=current.model,
        alias=serving.alias,
        serving_version=current.version,
        versions=[
            _loaded_version(resident, serving.aliases_of(version))
            for version, resident in residents
        ],
        aliases=[
            model_pb2.Alias(
                name=name,
                version=move.version,
                generation=move.generation,
                update_time=_timestamp(move.updated_at),
                served_version=serving.aliases.get(name, ""),
                candidate_version=move.candidate.version if move.candidate else "",
            )
            for name, move in aliases.items()
        ],
        trials=[_trial(trial, seen) for trial, seen in trials],
        registry_problem=registry_problem,
    )


def _loaded_version(resident: Resident, aliases: list[str]) -> model_pb2.LoadedVersion:
    manifest = resident.snapshot.manifest
    return model_pb2.LoadedVersion(
        version=manifest.version,
        create_time=_timestamp(manifest.created_at),
        activate_time=_timestamp(datetime.fromtimestamp(resident.activated_at, UTC)),
        default_variant=manifest.default_variant,
        variants=[
            model_pb2.Variant(
                name=variant.name,
                embedding_dim=variant.embedding_dim,
                index=variant.index.kind,
                index_recall=variant.index.recall,
                metrics=_metrics(variant.name, manifest.variants[variant.name].metrics),
            )
            for variant in resident.snapshot.variants.values()
        ],
        user_count=manifest.data.users,
        item_count=manifest.data.items,
        interaction_count=manifest.data.interactions.get("train", 0),
        baselines=[
            entry for name, splits in manifest.baselines.items() for entry in _metrics(name, splits)
        ],
        aliases=aliases,
        attributes=[_attribute(entry) for entry in manifest.attributes],
    )


def _attribute(entry: AttributeEntry) -> model_pb2.Attribute:
    return model_pb2.Attribute(name=entry.name, kind=f"ATTRIBUTE_KIND_{entry.kind.upper()}")


def version_status(state: VersionState) -> model_pb2.VersionStatus:
    """Convert a version's state."""
    return model_pb2.VersionStatus(
        version=state.version,
        state=f"VERSION_STATE_{state.state.upper()}",
        reason=state.reason,
        create_time=None if state.created_at is None else _timestamp(state.created_at),
        aliases=state.aliases,
    )


def _metrics(name: str, splits: dict[str, Metrics]) -> list[model_pb2.Metrics]:
    return [
        model_pb2.Metrics(name=name, split=split, values=values) for split, values in splits.items()
    ]


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def _trial(trial: Trial, seen: TrialTotals) -> model_pb2.Trial:
    computed = seen.recent(RequestKind.SHADOW)
    return model_pb2.Trial(
        alias=trial.move.alias,
        stable=_side(trial.move.version, seen, RequestKind.STABLE, Count.STABLE_ERRORS),
        candidate=_side(
            trial.candidate.version, seen, RequestKind.CANDIDATE, Count.CANDIDATE_ERRORS
        ),
        percent=trial.candidate.percent,
        shadow=trial.candidate.shadow,
        comparison=model_pb2.ShadowComparison(
            compared_count=seen[Count.SHADOW],
            dropped_count=seen[Count.SHADOW_DROPPED],
            failed_count=seen[Count.SHADOW_FAILED],
            mean_overlap=seen.overlap,
            mean_score_drift=seen.drift,
            p50_latency_ms=1000 * computed.quantile(0.5),
            p99_latency_ms=1000 * computed.quantile(0.99),
            score_count=seen[Count.SHADOW_SCORES],
        ),
        problem=trial.problem,
        begin_time=_timestamp(datetime.fromtimestamp(seen.began_at, UTC)),
    )


def _side(version: str, seen: TrialTotals, kind: RequestKind, errors: Count) -> model_pb2.TrialSide:
    recent = seen.recent(kind)
    return model_pb2.TrialSide(
        version=version,
        request_count=seen[kind],
        error_count=seen[errors],
        p50_latency_ms=1000 * recent.quantile(0.5),
        p99_latency_ms=1000 * recent.quantile(0.99),
    )
