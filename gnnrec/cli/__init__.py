"""The gnnrec command. A subcommand imports training or the server only when it runs."""

from gnnrec.cli.main import main

__all__ = ["main"]
