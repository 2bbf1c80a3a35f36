"""Background tasks that run as long as the server: one that fails is logged and begun again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

_log = logging.getLogger("gnnrec.server")

# Doubled with each failure in a row, so that what cannot succeed costs little.
_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 30.0


async def keep_running(
    name: str, work: Callable[[], Awaitable[None]], on_failure: Callable[[str], object]
) -> None:
    """Run `work` until it returns; whenever it raises, log that, tell `on_failure`, begin again.

    The pause before grows from 0.1 to 30 seconds while it fails within a minute of its beginning.
    """
    pause_s = _PAUSE_S
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await work()
            return
        except (Exception, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # else what it awaited was cancelled, and not this task
            if loop.time() - began > 2 * _LONGEST_PAUSE_S:
                pause_s = _PAUSE_S
            on_failure(name)
            _log.exception("a defect in %s, which begins again in %.1f s", name, pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
