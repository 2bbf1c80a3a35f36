"""How good embeddings are: ranking metrics, slices, baselines, and the score of a validation.

May import data/, graph/ and models/.
"""
