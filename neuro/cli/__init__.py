"""The ``neuro`` command: one file per subcommand, listed in :mod:`neuro.cli.entry`."""

from neuro.cli.entry import main

__all__ = ["main"]
