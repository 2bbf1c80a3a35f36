"""The clients of a server: addresses, queries, answers and the calls between them.

May import `gnnrec.errors`. Nothing is imported here, so that a query can be made without gRPC.
"""
