"""TopK queries, and their protobuf messages."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, SupportsIndex

from gnnrec.client.ids import Id, id_list, id_text
from gnnrec.client.newcomers import NewItem, NewUser, is_number
from gnnrec_protos.v1 import recommender_pb2 as pb

Filter = str | float | Sequence[str] | tuple[float | None, float | None]
"""A condition on an attribute. A text or several: the value is one of them. A number: the value
equals it. A pair of numbers: the value lies between them, ends included; None is an open end."""


@dataclass(frozen=True)
class Query:
    """One TopK query: its subject (exactly one of the first five), and options of the answer."""

    user_id: Id | None = None
    """A user of the training data."""
    _: KW_ONLY
    item_id: Id | None = None
    """An item of the catalogue: items similar to it."""
    embedding: Sequence[float] | None = None
    """A raw vector (D,)."""
    new_user: NewUser | None = None
    new_item: NewItem | None = None
    k: int = 10
    include_seen: bool = False
    """Whether items that the user has interacted with may be returned."""
    exclude_item_ids: Sequence[Id] = ()
    allow_item_ids: Sequence[Id] = ()
    """If not empty: the only items that may be returned; not together with exclude_item_ids."""
    filters: Mapping[str, Filter] = field(default_factory=dict)
    """Conditions by attribute name; every returned item meets all of them."""
    with_probabilities: bool = False
    with_titles: bool = False
    variant: str = ""
    """The variant whose embeddings are used; empty for the version's default."""
    version: str = ""
    """The version that answers; if this and `alias` are empty, the server's own alias decides."""
    alias: str = ""

    def to_message(self) -> pb.TopKRequest:
        """Return the protobuf message; raises ValueError for invalid values."""
        is_whole = isinstance(self.k, SupportsIndex) and not isinstance(self.k, bool)
        k = operator.index(self.k) if is_whole else -1
        if not 0 <= k < 2**31:
            raise ValueError(
                f"k is {self.k!r:.60}; it is a whole number from 1 to the server's limit"
            )
        request = pb.TopKRequest(
            k=k,
            include_seen=self.include_seen,
            exclude_item_ids=id_list("exclude_item_ids", self.exclude_item_ids),
            allow_item_ids=id_list("allow_item_ids", self.allow_item_ids),
            filters=[_filter(name, wanted) for name, wanted in self.filters.items()],
            with_probabilities=self.with_probabilities,
            with_titles=self.with_titles,
            variant=self.variant,
        )
        set_subject(
            request, self.user_id, self.item_id, self.embedding, self.new_user, self.new_item
        )
        set_target(request, self.version, self.alias)
        return request


def set_subject(
    request: pb.TopKRequest | pb.ScoreRequest,
    user_id: Id | None,
    item_id: Id | None,
    embedding: Sequence[float] | None,
    new_user: NewUser | None,
    new_item: NewItem | None,
) -> None:
    """Set the subject of a request; raises ValueError unless exactly one is given."""
    given = [value is not None for value in (user_id, item_id, embedding, new_user, new_item)]
    if sum(given) != 1:
        raise ValueError("name exactly one of user_id, item_id, embedding, new_user, new_item")
    if user_id is not None:
        request.user_id = id_text("user_id", user_id)
    elif item_id is not None:
        request.item_id = id_text("item_id", item_id)
    elif new_user is not None:
        request.new_user.CopyFrom(new_user.to_message())
    elif new_item is not None:
        request.new_item.CopyFrom(new_item.to_message())
    elif embedding is not None:
        request.embedding.values.extend(embedding)
        request.embedding.SetInParent()


def set_target(request: pb.TopKRequest | pb.ScoreRequest, version: str, alias: str) -> None:
    """Set the version or alias that is to answer; raises ValueError if both are given."""
    if version and alias:
        raise ValueError("name a version or an alias, not both")
    if version:
        request.version = version
    elif alias:
        request.alias = alias


def _filter(name: str, wanted: Any) -> pb.AttributeFilter:
    if is_number(wanted):
        wanted = (wanted, wanted)
    if isinstance(wanted, str):
        wanted = [wanted]
    if isinstance(wanted, tuple) and len(wanted) == 2:
        low, high = wanted
        if all(end is None or is_number(end) for end in wanted) and wanted != (None, None):
            return pb.AttributeFilter(field=name, range=pb.NumberRange(min=low, max=high))
    if isinstance(wanted, Sequence) and all(isinstance(text, str) for text in wanted):
        return pb.AttributeFilter(field=name, any_of=pb.TextList(values=wanted))
    raise ValueError(
        f"filter {name!r} is a text, a list of texts, a number or a pair (least, greatest) with "
        f"None for one open end, not {wanted!r:.60}"
    )
