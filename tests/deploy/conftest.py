from collections.abc import Iterator

import pytest

from gnnrec_registry import ModelStore
from tests import made
from tests.server.running import Running, running


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("registry")
    made.publish(root, version="v1")
    ModelStore(root, "toy").aliases.promote("v1", alias="production")
    with running(root) as here:
        yield here
