"""Whether a version fits into memory, asked before it is read."""

from pathlib import Path

from gnnrec_registry import Manifest, Version
from gnnrec_registry.files.layout import ITEM_IDS, ITEM_TITLES, USER_IDS
from gnnrec_registry.scoring import lists
from gnnrec_server.errors import UnservableVersion
from gnnrec_server.index import codes
from gnnrec_server.index.approximate import IndexPlan
from gnnrec_server.version import neighbourhoods

# What a text takes in memory for each byte that it takes in its file.
_TEXT = 4

# How many threads search at once, and how often a model's inputs are in memory while it runs.
_THREADS = 2
_LAYERS = 4


def check(version: Version, plan: IndexPlan) -> None:
    """Raise UnservableVersion, with figures, for a version that needs more than there is."""
    need, free = needed(version, plan), available()
    if free is not None and need > free:
        raise UnservableVersion(
            f"version {version.name!r} needs about {need / 2**20:.0f} MiB of memory, and "
            f"{free / 2**20:.0f} MiB are free; give the server more, or keep fewer versions"
        )


def needed(version: Version, plan: IndexPlan) -> int:
    """Return how many bytes a version takes in memory, its mapped files and searches included."""
    manifest = version.manifest
    total = 0
    for name, entry in manifest.files.items():
        if name.startswith("report/"):
            continue
        texts = name in (USER_IDS, ITEM_IDS, ITEM_TITLES) or name.endswith(".texts")
        total += entry.size * (_TEXT if texts else 1)
    for variant in manifest.variants.values():
        total += plan.extra_bytes(manifest.data.items, variant.embedding_dim)
    return total + _THREADS * _searching(manifest)


def _searching(manifest: Manifest) -> int:
    """Return what a thread takes at most while it answers from a version."""
    data = manifest.data
    widths = [variant.embedding_dim for variant in manifest.variants.values()]
    searching = codes.search_bytes(data.items, max(widths))
    if any(variant.lists is not None for variant in manifest.variants.values()):
        searching += lists.added_bytes(data.items)
    kinds = {variant.model.kind for variant in manifest.variants.values() if variant.model}
    if "sage" not in kinds or manifest.features is None:
        return searching
    nodes = min(neighbourhoods.MOST_NODES, data.users + data.items)
    return max(searching, _LAYERS * 4 * nodes * manifest.features.width)


def available(root: Path = Path("/")) -> int | None:
    """Return how many bytes are free, on the machine and within the container's limit."""
    found = []
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(1024 * int(line.split()[1]))
    except OSError:
        pass
    group = root / "sys/fs/cgroup"
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            # pages of files make room when it is wanted
            used = int((group / "memory.current").read_text()) - int(stat["file"])
            found.append(int(limit) - used)
    except (OSError, KeyError, ValueError):
        pass
    return min(found) if found else None
