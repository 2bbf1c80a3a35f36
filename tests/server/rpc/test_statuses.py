from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import ModelStore
from gnnrec_server import errors
from gnnrec_server.rpc.statuses import shown, to_status
from tests import unseen
from tests.server.running import Running, running

# What one can type, what terminals take for orders, and what is long in bytes or once escaped.
NASTY = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["\n\r\x1b[2J", "\u2028", "\x00", "é" * 3000, "😀" * 3000, "x" * 20_000]),
    st.lists(st.sampled_from(["é", "\n", '"', "'", "\\", "%", "😀", "\x7f"])).map(
        lambda some: "".join(some) * 300
    ),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, front: str) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("registry")
    version = unseen.publish(root)
    ModelStore(root, version.manifest.model).aliases.promote(version.name, alias="production")
    with running(root) as here:
        yield here


def status_of(call: Any, request: Any) -> Any:
    """Return the google.rpc.Status of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=10)
    status = rpc_status.from_call(caught.value)
    assert status is not None, f"{caught.value.code()}: {caught.value.details()}"
    assert status.message == caught.value.details()
    return status


def features(text: str) -> dict[str, pb.FeatureValue]:
    return {text[:30] or "x": pb.FeatureValue(text=text), "level": pb.FeatureValue(text=text)}


REQUESTS = {
    "user_id": lambda text: pb.TopKRequest(user_id=f"?{text}", k=1),
    "item_id": lambda text: pb.TopKRequest(item_id=f"?{text}", k=1),
    "variant": lambda text: pb.TopKRequest(user_id="u0", k=1, variant=f"?{text}"),
    "version": lambda text: pb.TopKRequest(user_id="u0", k=1, version=f"?{text}"),
    "alias": lambda text: pb.TopKRequest(user_id="u0", k=1, alias=f"?{text}"),
    "attribute": lambda text: pb.TopKRequest(
        user_id="u0",
        k=1,
        filters=[pb.AttributeFilter(field=f"?{text}", any_of=pb.TextList(values=[text]))],
    ),
    "feature": lambda text: pb.TopKRequest(
        new_user=pb.NewUser(features={f"?{text}": pb.FeatureValue(text=text)}), k=1, variant="sage"
    ),
    "valueless feature": lambda text: pb.TopKRequest(
        new_item=pb.NewItem(features={f"?{text}": pb.FeatureValue()}), k=1, variant="sage"
    ),
}
CODES = {
    "user_id": "NOT_FOUND",
    "item_id": "NOT_FOUND",
    "variant": "FAILED_PRECONDITION",
    "version": "NOT_FOUND",
    "alias": "NOT_FOUND",
    "attribute": "FAILED_PRECONDITION",
}


@pytest.mark.parametrize("field", REQUESTS)
@settings(max_examples=25)
@given(text=NASTY)
def test_whatever_text_stands_in_a_field_its_error_arrives_whole(
    server: Running, field: str, text: str
) -> None:
    status = status_of(server.recommender.TopK, REQUESTS[field](text))
    assert code_pb2.Code.Name(status.code) == CODES.get(field, "INVALID_ARGUMENT")
    assert status.message.isprintable()
    assert len(status.message.encode()) <= 600
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason != "INTERNAL"


@given(text=NASTY, most=st.integers(10, 700))
def test_what_is_shown_is_short_printable_and_begins_as_it_was(text: str, most: int) -> None:
    found = shown(text, most)
    assert len(found.encode()) <= most
    assert found.isprintable()
    if text.isprintable() and len(text.encode()) <= most:
        assert found == text


def test_a_long_message_is_cut_in_the_details_as_well() -> None:
    status = to_status(errors.InvalidQuery("f" * 9000, "\n" * 9000))
    bad = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad)
    assert len(bad.field_violations[0].field) <= 200
    assert len(bad.field_violations[0].description) <= 600
    assert status.ByteSize() < 2200
