"""HTML pages of a registry and of the comparison of two versions.

May import `comparison`.
"""
