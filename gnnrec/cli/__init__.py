"""The gnnrec command. A subcommand imports training or the server only when it runs.

May import all other rooms.
"""

from gnnrec.cli.main import main

__all__ = ["main"]
