"""The command's top level: its subcommands, and what a user's mistake looks like."""

import sys

import typer
from typer.core import TyperGroup, TyperOption

from gnnrec.cli import cache, calls, reports, rollout, serving, train, versions
from gnnrec.errors import Error
from registry import RegistryError

app = typer.Typer(
    help="Train graph recommenders, publish them, serve them over gRPC.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
train.add_to(app)
versions.add_to(app)
rollout.add_to(app)
reports.add_to(app)
serving.add_to(app)
calls.add_to(app)
cache.add_to(app)


def main() -> None:
    """Run the command; a user's mistake is one line on stderr and exit code 2."""
    try:
        command()(prog_name="gnnrec")
    except (RegistryError, Error, OSError) as error:
        _stop(error)
    except Exception as error:
        # the packages that a subcommand imports when it runs: caught without importing them here
        if type(error).__module__ not in ("training.errors", "server.errors"):
            raise
        _stop(error)


def command() -> TyperGroup:
    """Return the command, with every option a variable as well: --max-k is GNNREC_MAX_K."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    _name_variables(group)
    return group


def _name_variables(group: TyperGroup) -> None:
    for subcommand in group.commands.values():
        if isinstance(subcommand, TyperGroup):
            _name_variables(subcommand)
        for parameter in subcommand.params:
            if isinstance(parameter, TyperOption) and parameter.name != "help":
                parameter.envvar = f"GNNREC_{str(parameter.name).upper().rstrip('_')}"


def _stop(error: Exception) -> None:
    print(f"gnnrec: {error}", file=sys.stderr)
    sys.exit(2)
