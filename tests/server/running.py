"""A real server on free ports, in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from prometheus_client.parser import text_string_to_metric_families

from gnnrec import Client
from gnnrec_protos.v1 import model_pb2_grpc, recommender_pb2_grpc
from gnnrec_server.main import Ports, Server
from gnnrec_server.settings import Settings

FRONT = "grpcio"
"""The front of servers that ask for none; see conftest.py."""


class Running:
    """A running server, with stubs to call it."""

    def __init__(self, server: Server, ports: Ports, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.ports = ports
        where = server.settings.grpc_at.at(ports.grpc)
        self.address = str(where)
        self.channel = grpc.insecure_channel(where.target)
        self.recommender = recommender_pb2_grpc.RecommenderServiceStub(self.channel)
        self.model = model_pb2_grpc.ModelServiceStub(self.channel)
        self.client = Client(self.address, timeout_s=10)
        self._loop = loop

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call a function in the server's event loop, and do not wait."""
        self._loop.call_soon_threadsafe(function)

    def run(self, work: Any) -> Any:
        """Run a coroutine in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


@contextmanager
def running(registry: Path | str, **settings: Any) -> Iterator[Running]:
    """Serve model `toy` of a registry until the block ends."""
    free: dict[str, Any] = {
        "address": "127.0.0.1:0",
        "metrics_port": 0,
        "poll_interval_s": 0.05,
        "drain_s": 0.0,
        "front": FRONT,
    }
    made = Settings(registry=registry, model="toy", **(free | settings))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    async def build() -> Server:
        return Server(made)

    try:
        server = run(build())
        try:
            server_ports = run(server.start())
            here = Running(server, server_ports, loop)
            try:
                yield here
            finally:
                here.client.close()
                here.channel.close()
        finally:
            run(server.stop())
    finally:  # a thread left behind would keep the process from ending
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def failure(call: Any, request: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Return the status code, the ErrorInfo reason and the violated fields of a failing call."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=10)
    status = rpc_status.from_call(caught.value)
    assert status is not None
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    assert info.domain == "gnnrec"
    fields = {violation.field: violation.description for violation in bad.field_violations}
    return caught.value.code(), info.reason, fields


async def _counted(server: Server) -> None:
    """Wait a moment for calls whose status is sent and which are not counted yet."""
    for _ in range(100):
        if server.gateway.in_flight == 0:
            return
        await asyncio.sleep(0.01)


def scrape(server: Running) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the metrics: values by name and sorted labels, once what was answered is counted."""
    server.run(_counted(server.server))
    with urlopen(f"http://127.0.0.1:{server.ports.metrics}/metrics") as response:
        text = response.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
