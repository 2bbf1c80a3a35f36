"""Finding the items with the highest inner products: all of them looked at, or most."""
