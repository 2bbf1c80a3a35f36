"""Two versions side by side: metrics, answers, items, configuration and data.

Imports no other room.
"""

from gnnrec.comparison.compare import Comparison, Side, compare

__all__ = ["Comparison", "Side", "compare"]
