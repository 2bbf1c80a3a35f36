"""Publishing and promoting on a disk that is full: python -m tests.registry.storage.filling FOLDER.

Mounts a small file system on FOLDER, visible to this process only, and prints the outcomes as JSON.
"""

import json
import subprocess
import sys
from pathlib import Path

from gnnrec_registry import ModelStore, RegistryError
from gnnrec_registry.errors import CannotWrite
from tests import made

SIZE = 4 << 20


def main(folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], check=True)
    store = ModelStore(folder, "toy")
    made.publish(folder, version="v1")
    made.publish(folder, version="v2", seed=1)
    store.aliases.promote("v1", alias="production")
    outcomes = []
    # Free space too small for the ids, for an array, or for the manifest.
    for items in (60_000, 30_000, 20_000, 15_000, 12_000):
        export = made.export(made.embeddings(5, 32), made.embeddings(items, 32))
        filler = folder / "filler"
        filler.write_bytes(bytes(SIZE // 4))
        try:
            store.publish(export, version="large")
            outcomes.append("published")
            break
        except CannotWrite as error:
            outcomes.append(str(error))
        left = [path.name for path in store.layout.versions.iterdir()]
        filler.unlink()
        assert sorted(left) == ["v1", "v2"], left
    fill(folder)
    try:
        store.aliases.promote("v2", alias="production")
        moved = "moved"
    except (OSError, RegistryError) as error:
        moved = str(error)
    (folder / "filler").unlink()
    named = store.aliases.get("production").version
    last = store.aliases.history("production")[-1].version
    store.aliases.promote("v2", alias="production")
    made.publish(folder, version="v4")
    whole = [version.name for version in store.versions()]
    for name in whole:
        store.open(name).verify()
    print(json.dumps({"publish": outcomes, "promote": moved, "named": [named, last]}))


def fill(folder: Path) -> None:
    """Fill the file system to the last byte."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


if __name__ == "__main__":
    main(Path(sys.argv[1]))
