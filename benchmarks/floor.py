"""The lower bound of the cost of grpc.aio: a server that answers every call with fixed bytes.

python -m benchmarks.floor METHOD=FILE...; prints its port. It does not parse requests.
"""

import sys
from pathlib import Path
from typing import Any

import grpc
import uvloop
from grpc import aio


class Empty(grpc.GenericRpcHandler):
    """Answers each method with the content of its file."""

    def __init__(self, ready: dict[str, bytes]) -> None:
        self._handlers = {method: self._handler(content) for method, content in ready.items()}

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a method."""
        return self._handlers.get(handler_call_details.method)

    @staticmethod
    def _handler(content: bytes) -> Any:
        async def answer(request: bytes, context: object) -> bytes:
            return content

        return grpc.unary_unary_rpc_method_handler(answer)


async def serve(ready: dict[str, bytes]) -> None:
    server = aio.server()
    server.add_generic_rpc_handlers((Empty(ready),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    named = dict(argument.split("=", 1) for argument in sys.argv[1:])
    uvloop.run(serve({method: Path(name).read_bytes() for method, name in named.items()}))
