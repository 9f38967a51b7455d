"""`python -m hdpo.cli`."""

import sys

from hdpo.cli import main

if __name__ == "__main__":
    sys.exit(main())
