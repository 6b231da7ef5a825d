"""``python -m nanoos``: the same as the ``nanoos`` command."""

import sys

from nanoos.cli import main

if __name__ == "__main__":
    sys.exit(main())
