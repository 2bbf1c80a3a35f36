"""What `gnnrec init` finds in tables that nobody has described; may import all other rooms."""
