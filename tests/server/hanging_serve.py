"""The command, where a load of the version "hangs" never ends: it reads from a named pipe.

HANGING_PIPE is the pipe. To be run, not imported: it changes how versions are loaded.
"""

import os
from typing import Any

from gnnrec.cli.main import main
from gnnrec_registry import Version
from gnnrec_server.rollout import loads
from gnnrec_server.version import loader

_load = loader.load


def load(version: Version, **how: Any) -> Any:
    """Load a version, or wait for what nobody writes."""
    if version.name == "hangs":
        os.read(os.open(os.environ["HANGING_PIPE"], os.O_RDWR), 1)
    return _load(version, **how)


# The workers of a server import this file as well.
loader.load = load
loads._CALLED_OFF_S = 0.1

if __name__ == "__main__":
    main()
