"""Made-up data sets, for `gnnrec generate`, tests and documentation; imports no other room."""
