"""The graph of users and items: edges, sparse matrices, propagation and neighbours.

May import data/.
"""
