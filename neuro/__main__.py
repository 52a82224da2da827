"""``python -m neuro`` is the ``neuro`` command."""

import sys

from neuro.cli import main

if __name__ == "__main__":
    sys.exit(main())
