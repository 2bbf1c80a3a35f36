"""From tables to a data set that models are trained on: numbered, merged, split, described.

The modules here import the rooms reading/ and tables/; discovery/ and samples/ are apart.
"""
