"""A candidate beside the version that an alias names: both sides counted, compared and judged."""
