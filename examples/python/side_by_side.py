"""Recommend for many users at once with asyncio: python side_by_side.py [HOST:PORT] [USER...]."""

import asyncio
import sys

from gnnrec import AsyncClient, Error, Query


async def main(address: str = "127.0.0.1:50051", *users: str) -> None:
    """Ask side by side, and then for all users in one call."""
    users = users or ("person-0", "person-1")
    async with AsyncClient(address) as client:
        answers = await asyncio.gather(*(client.top_k(user, k=3) for user in users))
        for user, answer in zip(users, answers, strict=True):
            print(user, *(item.item_id for item in answer.items))

        entries = await client.batch_top_k([Query(user, k=3) for user in (*users, "nobody")])
        for user, entry in zip((*users, "nobody"), entries, strict=True):
            if isinstance(entry, Error):
                print(user, entry.reason)
            else:
                print(user, *(item.item_id for item in entry.items))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
