"""HTML pages: the templates that all pages extend, and how values are printed in them.

Imports no other room.
"""
