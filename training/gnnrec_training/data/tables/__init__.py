"""A table in memory, and how its columns are checked; imports no other room of data/."""
