"""File events of the aliases, so that a moved pointer is seen at once; polling sees it anyhow."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from watchfiles import Change, awatch

_log = logging.getLogger("gnnrec.server")

_DEBOUNCE_MS = 50
_STEP_MS = 5
# After so long without an event, and after a failure, the folder is looked for again.
_AGAIN_S = 5.0


async def watch(folder: Path, wake: Callable[[], object]) -> None:
    """Call `wake` whenever an alias in a folder changes, for ever; a folder may come and go."""
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # what changes, the rollout says
    while True:
        try:
            await _watch_while_there(folder, wake)
        except (OSError, RuntimeError) as error:  # not there, or no watches are left
            _log.debug("no file events of %s: %s", folder, error)
        await asyncio.sleep(_AGAIN_S)
        wake()


async def _watch_while_there(folder: Path, wake: Callable[[], object]) -> None:
    watched = folder.stat().st_ino
    async for changes in awatch(
        folder,
        watch_filter=_is_alias,
        recursive=False,
        debounce=_DEBOUNCE_MS,
        step=_STEP_MS,
        rust_timeout=int(1000 * _AGAIN_S),
        yield_on_timeout=True,
    ):
        if changes:
            wake()
        if folder.stat().st_ino != watched:
            return


def _is_alias(_: Change, path: str) -> bool:
    return path.endswith(".json")
