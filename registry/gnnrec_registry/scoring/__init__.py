"""What a score is, item lists included, how items are ordered, and the metrics of what comes of it.

May import `files`.
"""
