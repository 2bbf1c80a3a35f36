"""The command's top level: its subcommands, and how an error is reported."""

import sys
from typing import Annotated

import typer
from typer.core import TyperGroup, TyperOption

from gnnrec.cli import cache, calls, reports, rollout, serving, train, versions

# An error defined in these modules is a user's mistake. They are named and not imported: importing
# numpy, gRPC and the rest takes far longer than printing help.
_OF_MISTAKES = {
    "gnnrec_registry.errors", "gnnrec.errors", "gnnrec_training.errors", "gnnrec_server.errors",
}  # fmt: skip

app = typer.Typer(
    help="Train graph recommenders, publish them, serve them over gRPC.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"gnnrec {version('gnnrec')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Train graph recommenders, publish them, serve them over gRPC."""


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
    except Exception as error:
        ancestry = {kind.__module__ for kind in type(error).__mro__}
        if not isinstance(error, OSError) and not ancestry & _OF_MISTAKES:
            raise
        print(f"gnnrec: {error}", file=sys.stderr)
        sys.exit(2)


def command() -> TyperGroup:
    """Return the command; each option is also an environment variable: --max-k is GNNREC_MAX_K."""
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
