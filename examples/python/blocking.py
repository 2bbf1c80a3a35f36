"""Recommend for a user, and say what went wrong: python blocking.py [HOST:PORT] [USER]."""

import sys

from gnnrec import Client, Error


def main(address: str = "127.0.0.1:50051", user: str = "person-0") -> int:
    """Print the best items, and the same with those left out."""
    with Client(address, timeout_s=1.0, request_id="example") as client:
        try:
            answer = client.top_k(user, k=5, with_titles=True)
        except Error as error:
            print(f"{error.code} {error.reason}: {error}", file=sys.stderr)
            return 1
        print(f"for {user}, by {answer.variant} of {answer.version}:")
        for item in answer.items:
            print(item.item_id, f"{item.score:.4f}", item.title or "")
        shown = [item.item_id for item in answer.items]
        others = client.top_k(user, k=5, exclude_item_ids=shown)
        print("and then:", *(item.item_id for item in others.items))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
