"""Aliases, which are mutable names for versions: their moves, and the history of all moves.

May import `files` and `versions`.
"""
