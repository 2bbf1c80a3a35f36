"""A version in memory: its ids, embeddings and models, and how it is loaded and tried."""
