"""Reads tables in batches from files, URLs, databases and data frames; imports tables/.

`sources` is the way in: it picks the reader of a source.
"""
