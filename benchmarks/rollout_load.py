"""The callers of benchmarks.rollout: python -m benchmarks.rollout_load ADDRESS RIGHT CALLERS.

Each of CALLERS callers asks for one user after the other without a pause. An answer is compared
with the correct one of its version, from the JSON file RIGHT: {version: {user_id: [item_id, ...]}}.
The program ends when stdin is closed, and prints the times and mistakes as JSON.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from gnnrec import AsyncClient, Error

K = 10


async def call(
    client: AsyncClient, right: dict[str, dict[str, list[str]]], first: int, seen: dict[str, Any]
) -> None:
    users = list(next(iter(right.values())))
    turn = first
    while not seen["over"]:
        user = users[turn % len(users)]
        turn += 7
        began = time.time()
        try:
            answer = await client.top_k(user, k=K)
        except Error as error:
            seen["failed"].append(f"{error.code}: {error}")
            continue
        whole = [item.item_id for item in answer.items] == right[answer.version][user]
        seen["mixed"] += not whole
        seen["answers"].append((began, time.time() - began, answer.version))


async def look(client: AsyncClient, seen: dict[str, Any]) -> None:
    """Check the health of the server twenty times a second."""
    while not seen["over"]:
        try:
            seen["green" if await client.health() else "red"] += 1
        except Error:
            seen["red"] += 1
        await asyncio.sleep(0.05)


async def main(address: str, right: Path, callers: int) -> None:
    seen: dict[str, Any] = {
        "answers": [], "failed": [], "mixed": 0, "green": 0, "red": 0, "over": False,
    }  # fmt: skip
    expected = json.loads(right.read_text())
    async with AsyncClient(address, timeout_s=10) as client:
        work = [call(client, expected, 13 * number, seen) for number in range(callers)]
        running = [asyncio.create_task(each) for each in [*work, look(client, seen)]]
        await asyncio.to_thread(sys.stdin.read)
        seen["over"] = True
        await asyncio.gather(*running)
    del seen["over"]
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
