from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gnnrec_registry import ModelStore
from tests import made
from tests.server import running

FRONTS = ("grpcio", "native")
BOTH = ("tests/server/front/", "tests/server/rpc/", "tests/server/load/test_costs.py")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "grpcio_keeps(what): the native front does not")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of RPCs with each front, but for what one of them does not keep."""
    if "front" not in metafunc.fixturenames:
        return
    home = metafunc.definition.nodeid.partition("::")[0]
    kept = metafunc.definition.get_closest_marker("grpcio_keeps")
    fronts = FRONTS if home.startswith(BOTH) and kept is None else FRONTS[:1]
    metafunc.parametrize("front", fronts, scope="module", indirect=True)


@pytest.fixture(scope="module", autouse=True)
def front(request: Any) -> Iterator[str]:
    """Serve with this front where a test asks for none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "FRONT", request.param)
        yield request.param


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a registry whose version `v1` is in production; some tests make one of their own."""
    root = tmp_path_factory.mktemp("registry")
    made.publish(root, version="v1")
    ModelStore(root, "toy").aliases.promote("v1", alias="production")
    return root
