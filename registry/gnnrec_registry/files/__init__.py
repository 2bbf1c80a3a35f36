"""The files of a registry: their paths, safe reads, writes that survive a crash, arrays on disk.

Imports no other room.
"""
