"""A version: its manifest, how it is written, read and checked against the format.

May import `files`, `features` and `scoring`.
"""
