"""What any server process needs: threads, cores, memory, addresses, files that change."""
