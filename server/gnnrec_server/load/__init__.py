"""When and where a request is computed: admission, waiting, threads, batches, ready answers."""
