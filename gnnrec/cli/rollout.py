"""The subcommands that move aliases, tell their history, and show what a server makes of it."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from gnnrec.cli import options
from gnnrec.cli.complete import complete_versions
from gnnrec.cli.connect import connected
from gnnrec.terminal.table import printable

if TYPE_CHECKING:
    from gnnrec.client.answers import Shadowed, Trial, TrialSide
    from gnnrec.client.clients import Client
    from gnnrec_registry import Guard, Move
    from gnnrec_registry.aliases.moves import Record

Why = Annotated[str, typer.Option(help="The reason, for the history.")]


def promote(
    version: options.Version,
    alias: options.Alias = options.ALIAS,
    why: Why = "",
    percent: Annotated[
        float | None,
        typer.Option(min=0, max=100, help="Answer so many of a hundred users by it; 100: all."),
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Compute by it, unseen, what the old one answers.")
    ] = False,
    max_errors: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Return if its share of failures exceeds the old's by it."),
    ] = None,
    max_p99_ms: Annotated[
        float | None, typer.Option(min=0.001, help="Return if its p99 is longer.")
    ] = None,
    min_requests: Annotated[
        int, typer.Option(min=1, help="Requests that it answers before it is judged.")
    ] = 100,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="The share by which a metric may fall; 0.05 if not set."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Whatever verify and the metrics say; needs --why.")
    ] = False,
    registry: options.Registry = options.REGISTRY,
    model: options.Model = "",
    json: options.Json = False,
) -> None:
    """Point an alias at a version, or try it on a share of users; servers follow by themselves."""
    from gnnrec_registry.errors import InvalidTrial, PromotionRefused
    from gnnrec_registry.gate import TOLERANCE, check

    store = options.open_store(registry, model)
    share = percent if percent is not None else 0.0 if shadow else 100.0
    guarded = max_errors is not None or max_p99_ms is not None
    if share == 100 and (shadow or guarded):
        raise InvalidTrial("--shadow and the guard's limits are for a trial: --percent below 100")
    store.layout.require()
    if force and not why:
        raise PromotionRefused("--force needs --why: the history keeps the reason")
    note = "not checked: --force"
    if not force:
        allowed = TOLERANCE if tolerance is None else tolerance
        note = check(store, version, alias=alias, tolerance=allowed)
    if share == 100:
        move = store.aliases.promote(version, alias=alias, why=why, forced=force)
    else:
        guard = _guard(max_errors, max_p99_ms, min_requests) if guarded else None
        move = store.aliases.try_out(
            version, alias=alias, percent=share, shadow=shadow, guard=guard, why=why, forced=force
        )
    _print_move(move, json)
    if not json:
        print(note)
        if move.candidate is not None:
            print("to watch it: gnnrec rollout status; to end it: gnnrec promote, gnnrec rollback")


def rollback(
    alias: options.Alias = options.ALIAS,
    to: Annotated[
        str,
        typer.Option(
            metavar="VERSION", help="Any that it has named.", autocompletion=complete_versions
        ),
    ] = "",
    why: Why = "",
    registry: options.Registry = options.REGISTRY,
    model: options.Model = "",
    json: options.Json = False,
) -> None:
    """End an alias's trial, or point it back at the version it named before."""
    aliases = options.open_store(registry, model).aliases
    tried = aliases.get(alias).candidate
    move = aliases.rollback(alias=alias, to=to or None, why=why)
    if tried is None or json:
        _print_move(move, json)
        return
    still = "still" if move.version == move.previous else "now"
    print(f"{alias} is {still} {move.version}; the trial of {tried} has ended")


def history(
    alias: Annotated[str, typer.Option(help="Only this alias.")] = "",
    mend: Annotated[
        bool, typer.Option("--mend", help="Set aside what cannot be read, in history.damaged.")
    ] = False,
    registry: options.Registry = options.REGISTRY,
    model: options.Model = "",
    json: options.Json = False,
) -> None:
    """List every move of the aliases, oldest first: when, who, from, to, why.

    What cannot be read is named on stderr; the rest is listed all the same.
    """
    store = options.open_store(registry, model)
    store.layout.require()
    if mend:
        for problem in store.aliases.mend_history():
            _warn(f"set aside: {problem}")
    record: Record = store.aliases.record(alias or None)
    for problem in record.damage:
        _warn(f"cannot be read: {problem}")
    if json:
        options.print_json([move.model_dump(mode="json") for move in record.moves])
        return
    options.print_table(
        ["when", "who", "alias", "action", "from", "to", "why"],
        [
            [
                f"{move.updated_at:%Y-%m-%d %H:%M:%S}",
                move.updated_by,
                move.alias,
                f"{move.action} (forced)" if move.forced else move.action,
                move.previous or "-",
                f"{move.version} + {move.candidate}" if move.candidate else move.version,
                move.why,
            ]
            for move in record.moves
        ],
    )


def status(client: "Client", json: options.Json = False) -> None:
    """Print what a server answers under each alias, and both sides of each trial."""
    model = client.get_model()
    if json:
        fields = asdict(model)
        options.print_json({key: fields[key] for key in ("aliases", "trials", "registry_problem")})
        return
    options.print_table(
        ["alias", "names", "answers", "tries"],
        [
            [
                alias.name,
                alias.version,
                alias.served_version or "nothing here",
                alias.candidate or "-",
            ]
            for alias in model.aliases
        ],
    )
    for alias in model.aliases:
        if alias.served_version not in ("", alias.version):
            print(
                f"{alias.name} names {alias.version}, and is answered by {alias.served_version}: "
                "gnnrec status says why"
            )
    for trial in model.trials:
        _print_trial(trial)
    if model.registry_problem:
        print(f"\nthe registry cannot be read now; that was before: {model.registry_problem}")


def _guard(max_errors: float | None, max_p99_ms: float | None, min_requests: int) -> "Guard":
    from pydantic import ValidationError

    from gnnrec_registry import Guard
    from gnnrec_registry.errors import InvalidTrial

    try:
        return Guard(max_errors=max_errors, max_p99_ms=max_p99_ms, min_requests=min_requests)
    except ValidationError as error:  # NaN and infinity
        first = error.errors()[0]
        raise InvalidTrial(f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}") from None


def _warn(problem: str) -> None:
    print(f"gnnrec: {printable(problem)}", file=sys.stderr)


def _print_trial(trial: "Trial") -> None:
    how = [f"{trial.percent:g}% of users"] * bool(trial.percent) + ["shadow"] * trial.shadow
    print(f"\n{trial.alias}: {trial.candidate.version} on trial: {' and '.join(how)}")
    if trial.problem:
        print(f"it answers nobody: {trial.problem}")
    total = trial.stable.requests + trial.candidate.requests
    options.print_table(
        ["side", "version", "requests", "share", "errors", "p50", "p99"],
        [_side("old", trial.stable, total), _side("new", trial.candidate, total)],
    )
    if trial.shadow:
        _print_shadow(trial.shadowed)


def _print_shadow(shadow: "Shadowed") -> None:
    of_score = f" ({shadow.scored} of them of Score)" if shadow.scored else ""
    print(
        f"shadow: {shadow.compared} compared{of_score}, {shadow.dropped} dropped, "
        f"{shadow.failed} failed"
    )
    if shadow.compared:
        lists = shadow.compared > shadow.scored
        overlap = f"overlap {shadow.overlap:.1%}, " if lists else ""
        print(
            f"        {overlap}score drift {shadow.score_drift:.3g}, "
            f"p50 {shadow.p50_ms:.2f} ms, p99 {shadow.p99_ms:.2f} ms"
        )


def _side(name: str, side: "TrialSide", total: int) -> list[str]:
    answered = side.requests > 0
    return [
        name,
        side.version,
        str(side.requests),
        f"{side.requests / total:.1%}" if total else "-",
        f"{side.errors} ({side.errors / side.requests:.1%})" if answered else "0",
        f"{side.p50_ms:.2f} ms" if answered else "-",
        f"{side.p99_ms:.2f} ms" if answered else "-",
    ]


def _print_move(move: "Move", json: bool) -> None:
    came = f" (was {move.previous})" if move.previous else ""
    if json:
        options.print_json(move.model_dump(mode="json"))
    elif move.candidate is not None:
        print(f"{move.alias} is still {move.version}, and tries {move.candidate}")
    else:
        print(f"{move.alias} is now {move.version}{came}")


def add_to(app: typer.Typer) -> None:
    """Add these subcommands."""
    for command in (promote, rollback, history):
        app.command()(command)
    group = typer.Typer(help="Show what a running server makes of the aliases.")
    group.callback()(_only_subcommands)
    group.command("status")(connected(status))
    app.add_typer(group, name="rollout")


def _only_subcommands() -> None:
    """Show what a running server makes of the aliases."""  # so its name is needed
