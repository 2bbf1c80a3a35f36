"""The losses that models are fitted by, and the negative items that they compare with.

May import graph/.
"""
