"""grpc.health.v1.Health: the state of the services, for probes and load balancers.

Each watcher is written to by a task of its own, so one that does not read holds up no other.
"""

import asyncio
from typing import Any

from grpc_health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)

from gnnrec_server.errors import UnknownService
from gnnrec_server.process import connections


class Health:
    """The states of services by name, "" being the server as a whole."""

    def __init__(self, write_timeout_s: float) -> None:
        """Begin with no service; the connection of who takes no state for so long is ended."""
        self._write_timeout_s = write_timeout_s
        self._states: dict[str, int] = {}
        self._watchers: set[asyncio.Event] = set()
        self._is_ending = False

    def set(self, service: str, *, is_serving: bool) -> None:
        """Set the state of a service, unless the end has begun, and tell those who watch."""
        if not self._is_ending:
            self._states[service] = (
                HealthCheckResponse.SERVING if is_serving else HealthCheckResponse.NOT_SERVING
            )
            self._tell()

    def end(self) -> None:
        """Say NOT_SERVING of every service from now on."""
        self._is_ending = True
        self._states = dict.fromkeys(self._states, HealthCheckResponse.NOT_SERVING)
        self._tell()

    async def Check(self, request: HealthCheckRequest, context: Any) -> HealthCheckResponse:
        """Return the state of a service; NOT_FOUND for one that is not here."""
        if request.service not in self._states:
            raise UnknownService(f"no service {request.service!r:.200} is here")
        return HealthCheckResponse(status=self._states[request.service])

    async def List(self, request: HealthListRequest, context: Any) -> HealthListResponse:
        """Return the states of all services."""
        states = {name: HealthCheckResponse(status=state) for name, state in self._states.items()}
        return HealthListResponse(statuses=states)

    async def Watch(self, request: HealthCheckRequest, context: Any) -> None:
        """Write the state of a service at once and whenever it has changed, for ever.

        Of a service that is not here it is SERVICE_UNKNOWN. A slow reader gets
        the last state, and not all those between.
        """
        changed = asyncio.Event()
        self._watchers.add(changed)
        written: int | None = None
        try:
            while True:
                changed.clear()
                state = self._states.get(request.service, HealthCheckResponse.SERVICE_UNKNOWN)
                if state != written:
                    written = state
                    async with asyncio.timeout(self._write_timeout_s):
                        await context.write(HealthCheckResponse(status=state))
                await changed.wait()
        except TimeoutError:
            connections.end(context.peer())
            raise asyncio.CancelledError from None
        finally:
            self._watchers.discard(changed)

    def _tell(self) -> None:
        for changed in self._watchers:
            changed.set()
