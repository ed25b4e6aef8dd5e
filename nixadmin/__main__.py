"""`python -m nixadmin`."""

import sys

from nixadmin.cli import main

if __name__ == "__main__":
    sys.exit(main())
