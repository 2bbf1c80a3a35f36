"""Calls: who is let in, from messages to queries, and from answers to bytes."""
