"""The command as a user who is not root: python -m tests.registry.storage.another_user.

For each line of input, a JSON list of arguments, it prints a JSON list: the exit code, and what the
command printed to both outputs.
"""

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout

import gnnrec.cli.train
import gnnrec.comparison
import gnnrec.pages.index

# imported now, for the other user may not be able to read these files
import gnnrec.terminal.progress
import gnnrec_server.main
from gnnrec.cli.main import main
from gnnrec_registry import ModelStore

__all__ = ["ModelStore", "gnnrec", "gnnrec_server"]

NOBODY = 65534


def run(arguments: list[str]) -> tuple[int, str, str]:
    sys.argv = ["gnnrec", *arguments]
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
