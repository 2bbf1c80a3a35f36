"""Timing for benchmarks, and their output: a table and one line of JSON."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path


def median_seconds(work: Callable[[], object], repeats: int = 7) -> float:
    """Return the median wall time of `work` after one run that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def report(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, then the same as JSON on one line."""
    texts = [[_text(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    print(f"\n{title}")
    for row in texts:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    records = [dict(zip(header, row, strict=True)) for row in rows]
    print(json.dumps({"benchmark": title, "rows": records}))


def _text(cell: object) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process, in bytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
