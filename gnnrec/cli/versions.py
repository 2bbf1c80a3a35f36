"""The subcommands that read a registry's versions."""

from typing import Annotated

import typer

from gnnrec.cli import options
from registry import Damaged, Manifest

Version = Annotated[str, typer.Argument(metavar="VERSION", help="A version's id.")]


def versions(
    registry: options.Registry = options.REGISTRY,
    model: options.Model = "",
    json: options.Json = False,
) -> None:
    """List the published versions, newest first."""
    store = options.open_store(registry, model)
    named: dict[str, list[str]] = {}
    for name, move in store.aliases.all().items():
        named.setdefault(move.version, []).append(name)
    rows = []
    for entry in store.versions():
        row = {"version": entry.name, "aliases": named.get(entry.name, [])}
        if isinstance(entry, Damaged):
            row |= {"damaged": entry.reason}
        else:
            manifest = entry.manifest
            row |= {
                "created_at": manifest.created_at.isoformat(timespec="seconds"),
                "default_variant": manifest.default_variant,
                "metrics": manifest.variants[manifest.default_variant].metrics,
            }
        rows.append(row)
    if json:
        options.print_json({"model": store.layout.model, "versions": rows})
        return
    options.print_table(
        ["version", "created", "quality", "aliases"],
        [
            [
                row["version"],
                row.get("created_at", "")[:19],
                row.get("damaged") or _quality(row["metrics"]),
                ", ".join(row["aliases"]),
            ]
            for row in rows
        ],
    )


def show(
    version: Version,
    registry: options.Registry = options.REGISTRY,
    model: options.Model = "",
    json: options.Json = False,
) -> None:
    """Show a version's manifest: data, configuration, metrics, files."""
    from gnnrec.cli.train import print_metrics

    opened = options.open_store(registry, model).open(version)
    manifest: Manifest = opened.manifest
    if json:
        options.print_json(opened.summary())
        return
    data = manifest.data
    print(
        f"{manifest.model} {manifest.version}, published {manifest.created_at:%Y-%m-%d %H:%M:%S %Z}"
    )
    print(f"data {data.name}: {data.users} users, {data.items} items, {_counts(data.interactions)}")
    for name, variant in manifest.variants.items():
        default = ", default" if name == manifest.default_variant else ""
        print(f"variant {name}: embedding_dim {variant.embedding_dim}{default}")
    print_metrics(manifest)
    size = sum(entry.size for entry in manifest.files.values())
    print(f"{len(manifest.files)} files, {size / 1e6:.1f} MB, in {opened.where}")


def verify(
    version: Version, registry: options.Registry = options.REGISTRY, model: options.Model = ""
) -> None:
    """Check a version's files against its manifest: sizes, sha256, shapes, ids, numbers."""
    opened = options.open_store(registry, model).open(version)
    opened.verify()
    fetched = f", {opened.fetched / 1e6:.1f} MB fetched" if opened.fetched else ""
    print(f"{version} is whole: {len(opened.manifest.files)} files{fetched}")


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A version's id.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another's.")],
    registry: options.Registry = options.REGISTRY,
    model: options.Model = "",
    json: options.Json = False,
) -> None:
    """Compare two versions: metrics, configuration, data."""
    store = options.open_store(registry, model)
    a, b = store.open(first).summary(), store.open(second).summary()
    differences = {
        key: [a_value, b_value]
        for key, (a_value, b_value) in _pairs(_facts(a), _facts(b)).items()
        if a_value != b_value
    }
    if json:
        options.print_json({"a": first, "b": second, "differences": differences})
        return
    options.print_table(
        ["what", first, second, "difference"],
        [[key, _text(x), _text(y), _difference(x, y)] for key, (x, y) in differences.items()],
    )


def prune(
    keep: Annotated[int, typer.Option(min=0, help="How many of the newest to keep.")] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    registry: options.Registry = options.REGISTRY,
    model: options.Model = "",
) -> None:
    """Delete old versions; never one that an alias names or would name after a rollback."""
    store = options.open_store(registry, model)
    store.layout.require()
    gone = store.prune(keep, dry_run=dry_run)
    for version in gone:
        print(f"{'would delete' if dry_run else 'deleted'} {version}")
    if not gone:
        print("nothing to delete")


def _quality(metrics: dict[str, dict[str, float]]) -> str:
    for split in ("test", "validation"):
        shown = [
            f"{name} {value:.4f}"
            for name, value in metrics.get(split, {}).items()
            if name.startswith(("recall", "ndcg"))
        ]
        if shown:
            return f"{split} {' '.join(sorted(shown, reverse=True)[:2])}"
    return "not measured"


def _counts(interactions: dict[str, int]) -> str:
    return ", ".join(f"{count} {split}" for split, count in interactions.items())


def _facts(summary: dict[str, object]) -> dict[str, object]:
    """Flatten what can differ in an interesting way."""
    flat: dict[str, object] = {}

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            flat[prefix] = value

    for section in ("variants", "baselines", "config", "data", "libraries"):
        walk(section, summary[section])
    return flat


def _pairs(a: dict[str, object], b: dict[str, object]) -> dict[str, tuple[object, object]]:
    return {key: (a.get(key), b.get(key)) for key in [*a, *(key for key in b if key not in a)]}


def _text(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value)


def _difference(a: object, b: object) -> str:
    if isinstance(a, float) and isinstance(b, float):
        return f"{b - a:+.4f}"
    return ""


def add_to(app: typer.Typer) -> None:
    """Add these subcommands."""
    for command in (versions, show, verify, compare, prune):
        app.command()(command)
