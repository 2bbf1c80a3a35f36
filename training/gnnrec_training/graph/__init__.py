"""The graph of users and items: its edges, its sparse matrices, and what passes over it.

May import data/.
"""
