"""Training from Python, and the steps that it shares with the command `gnnrec train`.

May import `terminal`.
"""
