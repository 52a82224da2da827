"""``neuro cite``: the papers behind a run."""

from __future__ import annotations

import argparse

from neuro.cli.command import Command
from neuro.cli.console import say
from neuro.cli.run import add_run, given_run

__all__ = ["command"]


def _run(arguments: argparse.Namespace) -> int:
    run, config = given_run(arguments)
    from neuro import datasets
    from neuro.citations import cite

    say(str(cite(run.load_network(), config.rule, config.loss, datasets.DATASETS[config.dataset])))
    return 0


command = Command(
    name="cite",
    summary="print the papers behind a run as BibTeX",
    description=(
        "Prints BibTeX of what a run used: layers, rule, loss, data set, as far as their documentation names a paper.\n"
        "Volume and pages are for you to add."
    ),
    examples=(("neuro cite runs/demo > used.bib", "a file for LaTeX"),),
    add_arguments=add_run,
    run=_run,
)
