"""A writer to a bucket that is killed before its n-th write: python -m tests.remote.crashing.

For each line "WHAT URL n" a process does WHAT and kills itself before the n-th request that changes
something in the store; a kill before a request that only reads leaves what a
kill before the next write does. Prints each request, "done" when a process came to its end.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import botocore.session
from aiobotocore.httpsession import AIOHTTPSession

from gnnrec_registry import ModelStore
from gnnrec_registry.remote.storage import RemoteStorage
from tests import made

_send = AIOHTTPSession.send


def publish(url: str, number: int) -> None:
    made.publish(url, version=f"new{number}", seed=number)


def promote(url: str, _: int) -> None:
    ModelStore(url, "toy").aliases.promote("v2", alias="production")


def prune(url: str, _: int) -> None:
    ModelStore(url, "toy").prune(0)


def prune_while_promoted(url: str, number: int) -> None:
    """Prune; the version is promoted after the prune has read which versions are needed."""
    delete = RemoteStorage.delete

    def promote_and_delete(
        self: RemoteStorage, version: str, is_needed: Callable[[], bool]
    ) -> bool:
        if version == f"old{number}":
            killing = AIOHTTPSession.send
            AIOHTTPSession.send = _send
            ModelStore(url, "toy").aliases.promote(version, alias="canary")
            AIOHTTPSession.send = killing
        return delete(self, version, is_needed)

    RemoteStorage.delete = promote_and_delete  # type: ignore[method-assign]
    ModelStore(url, "toy").prune(0)


WHAT: dict[str, Callable[[str, int], None]] = {
    each.__name__: each for each in (publish, promote, prune, prune_while_promoted)
}


def die_before(last: int) -> None:
    """Kill this process with SIGKILL before its `last`-th write to a store."""
    left = last

    async def send(session: AIOHTTPSession, request: Any) -> Any:
        nonlocal left
        left -= request.method not in ("GET", "HEAD")
        if left == 0:
            sys.stdout.write(f"{request.method} {request.url.split('/', 4)[-1]}\n")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return await _send(session, request)

    AIOHTTPSession.send = send


def main() -> None:
    botocore.session.get_session().create_client("s3")  # imports, before the forks
    for line in sys.stdin:
        what, url, number = line.split()
        child = os.fork()  # fork before any thread is started
        if child == 0:
            die_before(int(number))
            WHAT[what](url, int(number))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            print("done" if status == 0 else f"failed {status}", flush=True)


if __name__ == "__main__":
    main()
