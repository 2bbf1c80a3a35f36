"""How good embeddings are: metrics over all items, by slice, beside baselines, and in training.

May import data/, graph/ and models/.
"""
