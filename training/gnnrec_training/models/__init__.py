"""What turns interactions and features into embeddings: LightGCN, spectral, GraphSAGE, the hybrid.

May import data/ and graph/.
"""
