"""What the server says of itself: Prometheus metrics, logs, traces."""
