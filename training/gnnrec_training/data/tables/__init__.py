"""A table in memory, and how its columns are checked; imports config and errors alone."""
