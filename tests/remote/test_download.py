import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gnnrec_registry import ModelStore, Version
from gnnrec_registry.errors import CacheUnusable, StoreUnreachable, VersionCorrupt
from gnnrec_registry.remote import cache as caches
from gnnrec_registry.remote import download, objects
from gnnrec_registry.remote.cache import Cache
from tests import made
from tests.remote.proxy import Asked, Fault, Proxy

CHUNK = 16 * 1024
ITEMS = "lightgcn/items.npy"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of 16 KiB, so that a file of 160 KB takes many; and short pauses."""
    monkeypatch.setattr(download, "_CHUNK", CHUNK)
    monkeypatch.setattr(download, "_PAUSE_S", 0.001)


@pytest.fixture
def published(bucket: str) -> Version:
    """A version whose items take ten ranges."""
    return publish(bucket, "v1")


def publish(bucket: str, version: str, seed: int = 0) -> Version:
    export = made.export(made.embeddings(10, 40), made.embeddings(1000, 40, seed))
    return ModelStore(bucket, "toy").publish(export, version=version)


def of_items(fault: Fault) -> Callable[[Asked], Fault | None]:
    return lambda asked: fault if asked.path.endswith(ITEMS) else None


def opened(bucket: str) -> Version:
    return ModelStore(bucket, "toy").open("v1")


def test_a_download_goes_on_where_an_earlier_one_was_cut(
    published: Version, bucket: str, proxy: Proxy, tmp_path: Path
) -> None:
    """The first process gets four ranges and then nothing; the next requests only the rest."""
    proxy.fault = lambda asked: (
        Fault(cut_after=100) if asked.path.endswith(ITEMS) and asked.start >= 4 * CHUNK else None
    )
    with pytest.raises(StoreUnreachable):
        opened(bucket).file(ITEMS)
    (partial,) = (tmp_path / "cache" / "partial").iterdir()
    assert partial.stat().st_size == 4 * CHUNK
    proxy.asked.clear()
    proxy.fault = lambda asked: None
    items = opened(bucket).embeddings("lightgcn")[1]
    assert min(proxy.fetched(ITEMS)) == 4 * CHUNK
    np.testing.assert_array_equal(items, made.embeddings(1000, 40))


def test_cuts_on_the_way_are_survived(published: Version, bucket: str, proxy: Proxy) -> None:
    seen: set[int] = set()

    def cut_each_once(asked: Asked) -> Fault | None:
        if not asked.path.endswith(ITEMS) or asked.start in seen:
            return None
        seen.add(asked.start)
        return Fault(cut_after=5000)

    proxy.fault = cut_each_once
    opened(bucket).verify()
    assert len(seen) == 10


def test_wrong_bytes_are_thrown_away_and_fetched_again(
    published: Version, bucket: str, proxy: Proxy
) -> None:
    flipped: list[Asked] = []

    def flip_once(asked: Asked) -> Fault | None:
        if asked.path.endswith(ITEMS) and asked.start == CHUNK and not flipped:
            flipped.append(asked)
            return Fault(flip_at=77)
        return None

    proxy.fault = flip_once
    version = opened(bucket)
    version.verify()
    assert proxy.fetched(ITEMS).count(0) == 2
    np.testing.assert_array_equal(version.embeddings("lightgcn")[1], made.embeddings(1000, 40))


def test_bytes_that_stay_wrong_are_refused_and_the_file_named(
    published: Version, bucket: str, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.fault = of_items(Fault(flip_at=77))
    with pytest.raises(VersionCorrupt, match=r"lightgcn/items\.npy has another sha256, fetched tw"):
        opened(bucket).verify()
    with pytest.raises(VersionCorrupt, match=r"lightgcn/items\.npy has another sha256"):
        opened(bucket).embeddings("lightgcn")
    wanted = published.manifest.files[ITEMS].sha256
    assert not list((tmp_path / "cache" / "sha256").rglob(wanted))
    assert (tmp_path / "cache" / "partial" / wanted).stat().st_size == 0
    proxy.fault = lambda asked: None
    opened(bucket).verify()


def test_a_slow_store_is_asked_for_less_at_once_and_waited_for(
    published: Version, bucket: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_QUICK_S", 0.0)
    proxy.fault = of_items(Fault(pause_s=0.01))
    opened(bucket).verify()
    assert proxy.fetched(ITEMS) == [part * CHUNK for part in range(10)]


def test_a_store_that_says_nothing_is_given_up_in_bounded_time(
    published: Version, bucket: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_DEADLINE_S", 0.5)
    proxy.fault = lambda asked: Fault(hangs=True)
    store = ModelStore(bucket, "toy")
    begun = time.monotonic()
    for ask in (lambda: store.open("v1"), lambda: store.aliases.get("production"), store.versions):
        with pytest.raises(StoreUnreachable, match="no answer in time"):
            ask()
    assert time.monotonic() - begun < 20


def test_what_versions_share_is_fetched_once(published: Version, bucket: str, proxy: Proxy) -> None:
    """The second version differs in items and golden answers; the other files are equal."""
    publish(bucket, "v2", seed=5)
    first = opened(bucket)
    first.verify()
    before = proxy.body_bytes
    second = ModelStore(bucket, "toy").open("v2")
    second.verify()
    assert first.fetched == sum(entry.size for entry in first.manifest.files.values())
    assert second.fetched == second.manifest.files[ITEMS].size
    assert proxy.body_bytes - before < 1.2 * second.fetched
    assert ModelStore(bucket, "toy").open("v2").fetched == 0


def test_two_that_need_a_file_at_once_fetch_it_once(
    published: Version, bucket: str, proxy: Proxy
) -> None:
    proxy.fault = of_items(Fault(pause_s=0.02))
    versions = [opened(bucket) for _ in range(3)]
    threads = [threading.Thread(target=version.verify) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(proxy.fetched(ITEMS)) == [part * CHUNK for part in range(10)]
    assert sum(version.fetched for version in versions) == sum(
        entry.size for entry in published.manifest.files.values()
    )


def test_a_copy_that_rotted_in_the_cache_is_fetched_again(published: Version, bucket: str) -> None:
    path = published.file(ITEMS)
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    version = opened(bucket)
    version.verify()
    assert version.file(ITEMS).read_bytes() == content


def test_the_cache_keeps_what_was_used_last_and_mapped_arrays_live_on(
    published: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.verify()
    items = published.embeddings("lightgcn")[1]
    for path in (tmp_path / "cache" / "sha256").glob("*/*"):
        os.utime(path, (1, 1))
    used = published.file("users.ids")
    monkeypatch.setattr(caches, "_YOUNG_S", 0.0)
    cache = Cache(tmp_path / "cache", 10**9)
    assert cache.usage().size == sum(entry.size for entry in published.manifest.files.values())
    cache.shrink(used.stat().st_size)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [used]
    np.testing.assert_array_equal(items, made.embeddings(1000, 40))


def test_a_full_cache_makes_room_by_itself(
    published: Version, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.verify()
    first = published.file(ITEMS)
    for path in first.parents[1].glob("*/*"):
        os.utime(path, (0, 0))
    monkeypatch.setenv("GNNREC_CACHE_GB", "0")
    second = publish(bucket, "v2", seed=5)
    second.verify()
    assert not first.exists()
    kept = Cache.from_environment().usage().size
    assert kept == sum(entry.size for entry in second.manifest.files.values())


def test_what_was_just_handed_out_is_never_taken_away(published: Version, tmp_path: Path) -> None:
    published.verify()
    assert Cache(tmp_path / "cache", 0).shrink(0) == 0


def test_a_cache_that_cannot_be_written_says_what_to_set(
    published: Version, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(CacheUnusable, match=r"Not a directory.*GNNREC_CACHE"):
        opened(bucket).verify()
    monkeypatch.setenv("GNNREC_CACHE_GB", "many")
    with pytest.raises(CacheUnusable, match="GNNREC_CACHE_GB is 'many'"):
        opened(bucket)
