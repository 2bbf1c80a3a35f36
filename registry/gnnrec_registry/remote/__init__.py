"""Registries in an object store, such as S3, with a cache of what was downloaded.

May import `files`, `versions`, `aliases` and `storage`. All but `failures` is
imported only for a registry at a URL: fsspec and the drivers of object stores come with it.
"""
