"""The gnnrec command. Each subcommand imports what it needs when it runs."""

from gnnrec.cli.main import main

__all__ = ["main"]
