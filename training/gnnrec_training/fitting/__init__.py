"""The training loop and what each model brings to it: batches, episodes, checkpoints, memory.

May import data/, graph/, models/, losses/ and evaluation/.
"""
