"""Where a model is kept: what such a place must do, and the local folder that does it.

May import `files`, `versions` and `aliases`.
"""
