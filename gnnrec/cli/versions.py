"""The subcommands that list, show, verify and delete a registry's versions."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnnrec.cli import options

if TYPE_CHECKING:
    from gnnrec_registry import Damaged, Manifest, ModelStore, Version


def versions(
    registry: options.Registry = options.REGISTRY,
    model: options.Model = "",
    json: options.Json = False,
) -> None:
    """List the published versions, newest first."""
    from gnnrec_registry.aliases.moves import by_version

    store = options.open_store(registry, model)
    entries, listed = store.versions(), store.aliases.all()
    named = by_version(listed.moves)
    damaged = [
        {"alias": alias, "reason": reason, "version": _last_recorded(store, alias)}
        for alias, reason in listed.damaged.items()
    ]
    rows = [_row(entry, named.get(entry.name, [])) for entry in entries]
    if json:
        options.print_json(
            {"model": store.layout.model, "versions": rows, "damaged_aliases": damaged}
        )
        return
    options.print_table(
        ["version", "created", "quality", "aliases"],
        [
            [
                row["version"],
                row.get("created_at", "")[:19],
                row.get("damaged") or _quality(row["metrics"]),
                ", ".join([*row["aliases"], *_damaged_at(damaged, row["version"])]),
            ]
            for row in rows
        ],
    )
    for broken in damaged:
        print(f"\nalias {broken['alias']} cannot be read: {broken['reason']}")


def _row(entry: "Version | Damaged", aliases: list[str]) -> dict[str, Any]:
    """Return a version as a JSON object; the metrics are those of its default variant."""
    from gnnrec_registry import Damaged

    row: dict[str, Any] = {"version": entry.name, "aliases": aliases}
    if isinstance(entry, Damaged):
        return row | {"damaged": entry.reason}
    manifest = entry.manifest
    return row | {
        "created_at": manifest.created_at.isoformat(timespec="seconds"),
        "default_variant": manifest.default_variant,
        "metrics": manifest.default_metrics,
    }


def show(
    version: options.Version,
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
    if manifest.search is not None:
        print(_search(manifest.search))
    print_metrics(manifest)
    size = sum(entry.size for entry in manifest.files.values())
    print(f"{len(manifest.files)} files, {size / 1e6:.1f} MB, in {opened.where}")


def verify(
    version: options.Version,
    registry: options.Registry = options.REGISTRY,
    model: options.Model = "",
    json: options.Json = False,
) -> None:
    """Check a version: files against its manifest, and all that the format says of them."""
    from gnnrec.terminal.progress import Progress

    opened = options.open_store(registry, model).open(version)
    size = sum(entry.size for entry in opened.manifest.files.values())
    with Progress() as progress:
        progress.start("verifying (MB)", size / 1e6)
        opened.verify(lambda read: progress.advance(read / 1e6))
    if json:
        options.print_json({"version": version, "files": len(opened.manifest.files), "bytes": size})
        return
    fetched = f", {opened.fetched / 1e6:.1f} MB fetched" if opened.fetched else ""
    print(f"{version} is whole: {len(opened.manifest.files)} files{fetched}")


def prune(
    keep: Annotated[int, typer.Option(min=0, help="How many of the newest to keep.")] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    registry: options.Registry = options.REGISTRY,
    model: options.Model = "",
    json: options.Json = False,
) -> None:
    """Delete old versions; never one that an alias names or would name after a rollback."""
    store = options.open_store(registry, model)
    store.layout.require()
    gone = store.prune(keep, dry_run=dry_run)
    if json:
        options.print_json({"versions": gone, "deleted": not dry_run})
        return
    for version in gone:
        print(f"{'would delete' if dry_run else 'deleted'} {version}")
    if not gone:
        print("nothing to delete")


def _last_recorded(store: "ModelStore", alias: str) -> str | None:
    """Return the version that an alias named last according to the history; None if unreadable."""
    from gnnrec_registry import RegistryError

    try:
        moves = store.aliases.recorded(alias)
    except RegistryError:
        return None
    return moves[-1].version if moves else None


def _damaged_at(damaged: list[dict[str, str | None]], version: str) -> list[str]:
    """Return the damaged aliases that named a version last, as texts for the table."""
    return [f"{broken['alias']} (damaged)" for broken in damaged if broken["version"] == version]


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


def _search(record: dict[str, Any]) -> str:
    """Return in a line how the models were searched for, and why these were chosen."""
    minutes = record.get("minutes", 0)
    time = f"{minutes:g} minutes" if minutes else "each kind once"
    ended = ", ended by the clock" if record.get("out_of_time") else ""
    tried = len(record.get("trials", []))
    trials = f"{tried:,} {'trial' if tried == 1 else 'trials'}"
    return f"search, {time}{ended}, {trials}: {record.get('why', '')}"


def _counts(interactions: dict[str, int]) -> str:
    return ", ".join(f"{count} {split}" for split, count in interactions.items())


def add_to(app: typer.Typer) -> None:
    """Add these subcommands."""
    for command in (versions, show, verify, prune):
        app.command()(command)
