"""Following the registry: which versions are wanted, loaded, refused and served."""
