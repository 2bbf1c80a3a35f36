import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AttributeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTRIBUTE_KIND_UNSPECIFIED: _ClassVar[AttributeKind]
    ATTRIBUTE_KIND_NUMBER: _ClassVar[AttributeKind]
    ATTRIBUTE_KIND_TEXT: _ClassVar[AttributeKind]
    ATTRIBUTE_KIND_TEXTS: _ClassVar[AttributeKind]

class VersionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERSION_STATE_UNSPECIFIED: _ClassVar[VersionState]
    VERSION_STATE_AVAILABLE: _ClassVar[VersionState]
    VERSION_STATE_LOADING: _ClassVar[VersionState]
    VERSION_STATE_LOADED: _ClassVar[VersionState]
    VERSION_STATE_REFUSED: _ClassVar[VersionState]
ATTRIBUTE_KIND_UNSPECIFIED: AttributeKind
ATTRIBUTE_KIND_NUMBER: AttributeKind
ATTRIBUTE_KIND_TEXT: AttributeKind
ATTRIBUTE_KIND_TEXTS: AttributeKind
VERSION_STATE_UNSPECIFIED: VersionState
VERSION_STATE_AVAILABLE: VersionState
VERSION_STATE_LOADING: VersionState
VERSION_STATE_LOADED: VersionState
VERSION_STATE_REFUSED: VersionState

class GetModelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model", "alias", "serving_version", "versions", "aliases", "trials", "registry_problem")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    SERVING_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    REGISTRY_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    model: str
    alias: str
    serving_version: str
    versions: _containers.RepeatedCompositeFieldContainer[LoadedVersion]
    aliases: _containers.RepeatedCompositeFieldContainer[Alias]
    trials: _containers.RepeatedCompositeFieldContainer[Trial]
    registry_problem: str
    def __init__(self, model: _Optional[str] = ..., alias: _Optional[str] = ..., serving_version: _Optional[str] = ..., versions: _Optional[_Iterable[_Union[LoadedVersion, _Mapping]]] = ..., aliases: _Optional[_Iterable[_Union[Alias, _Mapping]]] = ..., trials: _Optional[_Iterable[_Union[Trial, _Mapping]]] = ..., registry_problem: _Optional[str] = ...) -> None: ...

class Alias(_message.Message):
    __slots__ = ("name", "version", "generation", "update_time", "served_version", "candidate_version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SERVED_VERSION_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    generation: int
    update_time: _timestamp_pb2.Timestamp
    served_version: str
    candidate_version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., generation: _Optional[int] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., served_version: _Optional[str] = ..., candidate_version: _Optional[str] = ...) -> None: ...

class Trial(_message.Message):
    __slots__ = ("alias", "stable", "candidate", "percent", "shadow", "comparison", "problem", "begin_time")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    STABLE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    COMPARISON_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    BEGIN_TIME_FIELD_NUMBER: _ClassVar[int]
    alias: str
    stable: TrialSide
    candidate: TrialSide
    percent: float
    shadow: bool
    comparison: ShadowComparison
    problem: str
    begin_time: _timestamp_pb2.Timestamp
    def __init__(self, alias: _Optional[str] = ..., stable: _Optional[_Union[TrialSide, _Mapping]] = ..., candidate: _Optional[_Union[TrialSide, _Mapping]] = ..., percent: _Optional[float] = ..., shadow: _Optional[bool] = ..., comparison: _Optional[_Union[ShadowComparison, _Mapping]] = ..., problem: _Optional[str] = ..., begin_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class TrialSide(_message.Message):
    __slots__ = ("version", "request_count", "error_count", "p50_latency_ms", "p99_latency_ms")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_COUNT_FIELD_NUMBER: _ClassVar[int]
    ERROR_COUNT_FIELD_NUMBER: _ClassVar[int]
    P50_LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    P99_LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    version: str
    request_count: int
    error_count: int
    p50_latency_ms: float
    p99_latency_ms: float
    def __init__(self, version: _Optional[str] = ..., request_count: _Optional[int] = ..., error_count: _Optional[int] = ..., p50_latency_ms: _Optional[float] = ..., p99_latency_ms: _Optional[float] = ...) -> None: ...

class ShadowComparison(_message.Message):
    __slots__ = ("compared_count", "dropped_count", "failed_count", "mean_overlap", "mean_score_drift", "p50_latency_ms", "p99_latency_ms", "score_count")
    COMPARED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_COUNT_FIELD_NUMBER: _ClassVar[int]
    MEAN_OVERLAP_FIELD_NUMBER: _ClassVar[int]
    MEAN_SCORE_DRIFT_FIELD_NUMBER: _ClassVar[int]
    P50_LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    P99_LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    SCORE_COUNT_FIELD_NUMBER: _ClassVar[int]
    compared_count: int
    dropped_count: int
    failed_count: int
    mean_overlap: float
    mean_score_drift: float
    p50_latency_ms: float
    p99_latency_ms: float
    score_count: int
    def __init__(self, compared_count: _Optional[int] = ..., dropped_count: _Optional[int] = ..., failed_count: _Optional[int] = ..., mean_overlap: _Optional[float] = ..., mean_score_drift: _Optional[float] = ..., p50_latency_ms: _Optional[float] = ..., p99_latency_ms: _Optional[float] = ..., score_count: _Optional[int] = ...) -> None: ...

class LoadedVersion(_message.Message):
    __slots__ = ("version", "create_time", "activate_time", "default_variant", "variants", "user_count", "item_count", "interaction_count", "baselines", "aliases", "attributes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ACTIVATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VARIANT_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    USER_COUNT_FIELD_NUMBER: _ClassVar[int]
    ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    INTERACTION_COUNT_FIELD_NUMBER: _ClassVar[int]
    BASELINES_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    version: str
    create_time: _timestamp_pb2.Timestamp
    activate_time: _timestamp_pb2.Timestamp
    default_variant: str
    variants: _containers.RepeatedCompositeFieldContainer[Variant]
    user_count: int
    item_count: int
    interaction_count: int
    baselines: _containers.RepeatedCompositeFieldContainer[Metrics]
    aliases: _containers.RepeatedScalarFieldContainer[str]
    attributes: _containers.RepeatedCompositeFieldContainer[Attribute]
    def __init__(self, version: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., activate_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., default_variant: _Optional[str] = ..., variants: _Optional[_Iterable[_Union[Variant, _Mapping]]] = ..., user_count: _Optional[int] = ..., item_count: _Optional[int] = ..., interaction_count: _Optional[int] = ..., baselines: _Optional[_Iterable[_Union[Metrics, _Mapping]]] = ..., aliases: _Optional[_Iterable[str]] = ..., attributes: _Optional[_Iterable[_Union[Attribute, _Mapping]]] = ...) -> None: ...

class Attribute(_message.Message):
    __slots__ = ("name", "kind")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: AttributeKind
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[AttributeKind, str]] = ...) -> None: ...

class Variant(_message.Message):
    __slots__ = ("name", "embedding_dim", "index", "metrics", "index_recall")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_DIM_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    INDEX_RECALL_FIELD_NUMBER: _ClassVar[int]
    name: str
    embedding_dim: int
    index: str
    metrics: _containers.RepeatedCompositeFieldContainer[Metrics]
    index_recall: float
    def __init__(self, name: _Optional[str] = ..., embedding_dim: _Optional[int] = ..., index: _Optional[str] = ..., metrics: _Optional[_Iterable[_Union[Metrics, _Mapping]]] = ..., index_recall: _Optional[float] = ...) -> None: ...

class Metrics(_message.Message):
    __slots__ = ("name", "split", "values")
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    split: str
    values: _containers.ScalarMap[str, float]
    def __init__(self, name: _Optional[str] = ..., split: _Optional[str] = ..., values: _Optional[_Mapping[str, float]] = ...) -> None: ...

class ListVersionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListVersionsResponse(_message.Message):
    __slots__ = ("versions",)
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[VersionStatus]
    def __init__(self, versions: _Optional[_Iterable[_Union[VersionStatus, _Mapping]]] = ...) -> None: ...

class VersionStatus(_message.Message):
    __slots__ = ("version", "state", "reason", "create_time", "aliases")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    version: str
    state: VersionState
    reason: str
    create_time: _timestamp_pb2.Timestamp
    aliases: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[str] = ..., state: _Optional[_Union[VersionState, str]] = ..., reason: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., aliases: _Optional[_Iterable[str]] = ...) -> None: ...
