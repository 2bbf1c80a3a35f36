"""gnnrec generate, init and train."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnnrec.cli import options
from gnnrec.cli.complete import complete_versions

if TYPE_CHECKING:
    from gnnrec.terminal.progress import Progress
    from gnnrec_registry import Manifest, ModelStore, Version
    from gnnrec_training.config import Config
    from gnnrec_training.fitting.estimate import Estimate
    from gnnrec_training.train import Outcome

_INTERRUPTED = 130
"""The exit code after an interrupt by Ctrl-C."""


def generate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write it.")],
    users: Annotated[int, typer.Option(min=2, help="People.")] = 1000,
    items: Annotated[int, typer.Option(min=2, help="Courses.")] = 400,
    interactions: Annotated[int, typer.Option(min=2, help="Enrolments.")] = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same files.")] = 0,
    toy: Annotated[str, typer.Option(metavar="a|b", help="A tiny graph in its place.")] = "",
    json: options.Json = False,
) -> None:
    """Write a deterministic sample data set: people, courses, topics, and a training config."""
    from gnnrec_training.data.samples.courses import sample_courses
    from gnnrec_training.data.samples.sample import write
    from gnnrec_training.data.samples.toy_graphs import toy_graph

    sample = toy_graph(toy, seed) if toy else sample_courses(users, items, interactions, seed)
    paths = write(sample, directory)
    if json:
        options.print_json({"files": list(map(str, paths))})
        return
    for path in paths:
        print(path)


def init(
    data: Annotated[
        list[str], typer.Argument(metavar="DATA...", help="Files, patterns or folders of tables.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; NAME.toml if not set.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: options.Json = False,
) -> None:
    """Look at data and write a configuration for them, with what was found and why."""
    from gnnrec_training.data.discovery.proposal import propose
    from gnnrec_training.errors import InvalidConfig

    proposal = propose(data, output.parent if output else Path())
    path = output or Path(f"{proposal.config.name}.toml")
    if not path.parent.is_dir():
        raise InvalidConfig(f"there is no folder {path.parent} for {path.name}; make it first")
    if path.exists() and not force:
        raise InvalidConfig(f"{path} is there; name another with --output, or replace it: --force")
    path.write_text(proposal.text, encoding="utf-8")
    if json:
        options.print_json({"file": str(path), "found": proposal.notes})
        return
    print(proposal.text)
    print(f"written to {path}; next: gnnrec train {path}")


def train(
    data: Annotated[
        list[str],
        typer.Argument(metavar="CONFIG.toml|DATA...", help="What to train, or the data alone."),
    ],
    registry: options.Registry = options.REGISTRY,
    minutes: Annotated[
        float | None,
        typer.Option(help="The time to search for models; by the size of the data if not set."),
    ] = None,
    promote: Annotated[
        str, typer.Option(metavar="ALIAS", help="Point this alias at it, if it is no worse.")
    ] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from where this training was stopped.")
    ] = False,
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="VERSION|ALIAS",
            help="Start from this version: LightGCN from its embeddings, and with its models.",
            autocompletion=complete_versions,
        ),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read everything, tell what would be trained, stop.")
    ] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="The folder for stopped trainings; in the registry if not set."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Train as a configuration says, or what fits the data, evaluate, and publish a version."""
    from gnnrec.terminal.progress import Progress
    from gnnrec.training.run import configured, named, store_of, with_minutes

    with Progress(starts=True) as progress:
        config, beside = configured(data, progress.tell, search=not from_)
        config = with_minutes(config, minutes)
        store = store_of(config, registry, promote)
        start = named(store, from_) if from_ else None
        if dry_run:
            expected = _estimated(config, beside, progress, start)
        else:
            outcome = _trained(
                config, beside, store, progress, checkpoint, resume=resume, start=start
            )
    if dry_run:
        if json:
            options.print_json(expected.record())
        else:
            print("\n".join(expected.lines()))
        return
    _print_outcome(outcome, registry, json)
    if promote:
        _promote(store, outcome.version.name, promote, json)


def _estimated(
    config: "Config", beside: Path, progress: "Progress", start: "Version | None"
) -> "Estimate":
    """Read the data and tell how long the training would take, and what it would need.

    With a version to start from, that is what it would take from nothing.
    """
    # PyTorch is imported here, after a mistake in the configuration has been reported
    from gnnrec_training.export.warm_start import begun
    from gnnrec_training.fitting.estimate import estimate

    if start is not None:
        config = begun(config, start, progress)
    return estimate(config, beside, progress)


def _trained(
    config: "Config",
    beside: Path,
    store: "ModelStore",
    progress: "Progress",
    checkpoint: Path | None,
    *,
    resume: bool,
    start: "Version | None",
) -> "Outcome":
    """Train and publish; an interrupted training ends the command with its own exit code."""
    # PyTorch is imported here, after a mistake in the configuration has been reported
    from gnnrec_training.errors import Interrupted
    from gnnrec_training.train import train as run

    try:
        return run(config, beside, store, progress, checkpoint, resume=resume, start=start)
    except Interrupted as error:
        progress.tell(f"gnnrec: {error}")
        raise typer.Exit(_INTERRUPTED) from None


def _print_outcome(outcome: "Outcome", registry: str, json: bool) -> None:
    from gnnrec.training.run import unknown_texts

    manifest = outcome.version.manifest
    if json:
        options.print_json(
            {
                "model": manifest.model,
                "version": manifest.version,
                "seconds": round(outcome.seconds, 3),
                "metrics": manifest.default_metrics,
                "verdict": outcome.verdict and outcome.verdict.record(),
            }
        )
        return
    print_metrics(manifest)
    if sentence := unknown_texts(outcome):
        print(sentence)
    print(f"published {manifest.model} {manifest.version} in {outcome.seconds:.1f} s")
    at = f"--registry {registry} --model {manifest.model}"
    print(f"its report: gnnrec report {manifest.version} {at} --open")
    if outcome.verdict is not None:
        header, *rows = outcome.verdict.table()
        options.print_table(header, rows)
        print(outcome.verdict.sentence)


def _promote(store: "ModelStore", version: str, alias: str, json: bool) -> None:
    from gnnrec.training.run import promote

    note = promote(store, version, alias)
    if not json:
        print(f"{alias} is now {version}")
        print(note)


def print_metrics(manifest: "Manifest") -> None:
    """Print recall and NDCG of the variants beside the baselines."""
    from gnnrec.training.run import NOT_MEASURED, metrics_table

    models = {name: variant.metrics for name, variant in manifest.variants.items()}
    rows = metrics_table(models | manifest.baselines, manifest.default_variant)
    if rows:
        options.print_table(rows[0], rows[1:])
    else:
        print(NOT_MEASURED)


def add_to(app: typer.Typer) -> None:
    """Add these subcommands."""
    app.command()(generate)
    app.command()(init)
    app.command()(train)
