"""From a query to an answer: which version answers, which items may be in it, and the best."""
