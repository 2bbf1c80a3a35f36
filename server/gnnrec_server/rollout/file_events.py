"""File events of the aliases, so that a moved pointer is seen at once; polling sees it anyhow."""

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import watchfiles
from watchfiles import Change

from gnnrec_server.process.threads import OneThread

_log = logging.getLogger("gnnrec.server")

_DEBOUNCE_MS = 50
_STEP_MS = 5
# After so long without an event, and after a failure, the folder is looked for again.
_AGAIN_S = 5.0


async def watch(folder: Path, wake: Callable[[], object]) -> None:
    """Call `wake` whenever an alias in a folder changes, for ever; a folder may come and go.

    All that asks the file system, which may not answer, happens in a thread of its own.
    """
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # what changes, the rollout says
    loop = asyncio.get_running_loop()
    notify = partial(loop.call_soon_threadsafe, wake)
    thread, ended = OneThread("events"), threading.Event()
    try:
        while True:
            try:
                await loop.run_in_executor(thread, _watch_while_there, folder, notify, ended)
            except (OSError, RuntimeError) as error:  # not there, or no watches are left
                _log.debug("no file events of %s: %s", folder, error)
            await asyncio.sleep(_AGAIN_S)
            wake()
    finally:
        ended.set()
        thread.shutdown(wait=False)


def _watch_while_there(folder: Path, wake: Callable[[], object], ended: threading.Event) -> None:
    watched = folder.stat().st_ino
    for changes in watchfiles.watch(
        folder,
        watch_filter=_is_alias,
        recursive=False,
        debounce=_DEBOUNCE_MS,
        step=_STEP_MS,
        rust_timeout=int(1000 * _AGAIN_S),
        yield_on_timeout=True,
        stop_event=ended,
        raise_interrupt=False,
    ):
        if changes:
            wake()
        if folder.stat().st_ino != watched:
            return


def _is_alias(_: Change, path: str) -> bool:
    return path.endswith(".json")
