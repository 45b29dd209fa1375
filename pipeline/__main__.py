"""`python -m pipeline` is the command `privml`."""

import sys

from pipeline.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
