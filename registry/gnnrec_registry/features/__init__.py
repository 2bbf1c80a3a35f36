"""What users and items are described by: feature vectors for models, attributes for filters.

May import `files`.
"""
