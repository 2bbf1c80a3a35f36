"""What a score is, how items are ordered by it, and the metrics of the lists that come of it.

May import `files`.
"""
