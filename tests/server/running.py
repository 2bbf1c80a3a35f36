"""A real server on free ports, in a thread of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from gnnrec import Client
from protos.gnnrec.v1 import model_pb2_grpc, recommender_pb2_grpc
from server.app import Ports, Server
from server.settings import Settings


class Running:
    """A running server, with stubs to call it."""

    def __init__(self, server: Server, ports: Ports, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.ports = ports
        self.address = f"127.0.0.1:{ports.grpc}"
        self.channel = grpc.insecure_channel(self.address)
        self.recommender = recommender_pb2_grpc.RecommenderServiceStub(self.channel)
        self.model = model_pb2_grpc.ModelServiceStub(self.channel)
        self.client = Client(self.address)
        self._loop = loop

    def run(self, work: Any) -> Any:
        """Run a coroutine in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


@contextmanager
def running(registry: Path, **settings: Any) -> Iterator[Running]:
    """Serve model `toy` of a registry until the block ends."""
    free: dict[str, Any] = {"address": "127.0.0.1:0", "metrics_port": 0, "poll_interval_s": 0.05}
    made = Settings(registry=registry, model="toy", **(free | settings))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    async def build() -> Server:
        return Server(made)

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
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
