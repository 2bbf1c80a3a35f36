"""gnnrec generate, init and train."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnnrec.cli import options

if TYPE_CHECKING:
    from training.config import Config

_INTERRUPTED = 130
"""The exit code of what was ended by Ctrl-C."""


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
    from training.data import sample_world, toys
    from training.data.sample import write

    sample = (
        toys.toy(toy, seed) if toy else sample_world.sample_world(users, items, interactions, seed)
    )
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
    from training.errors import InvalidConfig
    from training.proposal import propose

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


def _configured(data: list[str], say: Callable[[str], None]) -> tuple["Config", Path]:
    """Return the configuration that is named, or one for the data that are, and where it stands."""
    from training.config import load
    from training.errors import InvalidConfig
    from training.proposal import propose

    if any(each.endswith(".toml") for each in data):
        if len(data) > 1:
            raise InvalidConfig(f"name one configuration, or data alone, not {' '.join(data)}")
        path = Path(data[0])
        return load(path), path.parent
    proposal = propose(data, Path())
    for note in proposal.notes:
        say(note)
    say(f"for a configuration to change: gnnrec init {' '.join(data)}")
    return proposal.config, proposal.beside


def train(
    data: Annotated[
        list[str],
        typer.Argument(metavar="CONFIG.toml|DATA...", help="What to train, or the data alone."),
    ],
    registry: options.Registry = options.REGISTRY,
    promote: Annotated[
        str, typer.Option(metavar="ALIAS", help="Point this alias at it, if it is no worse.")
    ] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from where this training was stopped.")
    ] = False,
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
    from gnnrec.cli.progress import Progress
    from registry import ModelStore
    from registry.gate import check

    with Progress(starts=True) as progress:
        settings, beside = _configured(data, progress.tell)
        # after that, for a mistake in a configuration is told before PyTorch is imported
        from training.errors import Interrupted
        from training.train import estimate
        from training.train import train as run

        store = ModelStore(registry, settings.name)
        if promote:
            store.layout.alias(promote)  # a bad name is refused before the work, not after
        if dry_run:
            expected = estimate(settings, beside, progress)
        else:
            try:
                outcome = run(settings, beside, store, progress, checkpoint, resume=resume)
            except Interrupted as error:
                progress.tell(f"gnnrec: {error}")
                raise typer.Exit(_INTERRUPTED) from None
    if dry_run:
        if json:
            options.print_json(expected.record())
        else:
            print("\n".join(expected.lines()))
        return
    manifest = outcome.version.manifest
    metrics = manifest.variants[manifest.default_variant].metrics
    if json:
        options.print_json(
            {
                "model": manifest.model,
                "version": manifest.version,
                "seconds": round(outcome.seconds, 3),
                "metrics": metrics,
            }
        )
    else:
        print_metrics(manifest)
        if outcome.unknown_texts:
            counts = ", ".join(f"{name} {count}" for name, count in outcome.unknown_texts.items())
            print(f"texts without a place in the features (rare, or not in training): {counts}")
        print(f"published {manifest.model} {manifest.version} in {outcome.seconds:.1f} s")
        at = f"--registry {registry} --model {manifest.model}"
        print(f"its report: gnnrec report {manifest.version} {at} --open")
    if promote:
        note = check(store, manifest.version, alias=promote)
        store.aliases.promote(manifest.version, alias=promote, why="trained")
        if not json:
            print(f"{promote} is now {manifest.version}")
            print(note)


def print_metrics(manifest: object) -> None:
    """Print recall and NDCG of the variants beside the baselines."""
    from registry import Manifest

    assert isinstance(manifest, Manifest)
    models = {name: variant.metrics for name, variant in manifest.variants.items()}
    models |= manifest.baselines
    splits = sorted({split for metrics in models.values() for split in metrics})
    if not splits:
        print("not measured: the split keeps nothing from training")
        return
    names = [
        name
        for split in splits[:1]
        for name in manifest.variants[manifest.default_variant].metrics[split]
        if name.startswith(("recall", "ndcg", "coverage"))
    ]
    options.print_table(
        ["split", "model", *names],
        [
            [split, model, *(f"{metrics[split][name]:.4f}" for name in names)]
            for split in splits
            for model, metrics in models.items()
        ],
    )


def add_to(app: typer.Typer) -> None:
    """Add these subcommands."""
    app.command()(generate)
    app.command()(init)
    app.command()(train)
