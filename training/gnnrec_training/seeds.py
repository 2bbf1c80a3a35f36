"""The streams of random numbers that follow from a configuration's seed.

A stream is `numpy.random.default_rng([seed, STREAM])`: each purpose has a number of its own, so
that no draw for one purpose changes those for another. The numbers never change: a training of
today must be repeatable tomorrow. LightGCN and the spectral model draw from torch generators that
are seeded with the seed alone.
"""

SPLIT = 1
"""Draws which interactions are kept from training for the validation and test parts."""

RANDOM_BASELINE = 2
"""Draws the embeddings of the baseline that ranks items at random."""

EPISODES = 3
"""Draws the episodes of GraphSAGE and the hybrid: users, new items, edges left out."""

GRAPH_SCALE = 4
"""Draws the users and items by which the hybrid scales the graph embeddings."""

BALANCE_USERS = 5
"""Draws the validation users by whom the hybrid's two factors are chosen."""

SEARCH_USERS = 6
"""Draws the validation users whom a search asks."""

SEARCH = 7
"""Draws the settings that a search tries."""
