"""What the command prints on a terminal besides its answers: progress and fitted tables.

Imports no other room.
"""
