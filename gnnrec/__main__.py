"""python -m gnnrec is the command."""

from gnnrec.cli import main

if __name__ == "__main__":
    main()
