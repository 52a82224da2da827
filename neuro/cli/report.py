"""``neuro report``: one page with pictures about a run."""

from __future__ import annotations

import argparse

from neuro.cli.command import Command
from neuro.cli.console import log_file, say
from neuro.cli.run import add_run, given_run

__all__ = ["command"]


def _run(arguments: argparse.Namespace) -> int:
    run, config = given_run(arguments)
    import neuro.report
    from neuro.cli.assembly import load_run

    with log_file(run.log):
        data, _ = load_run(run, config)
        say(f"report {neuro.report.write(run.root, data)}")
    return 0


command = Command(
    name="report",
    summary="write a page with pictures about a run",
    description=(
        "Write report.html into the run folder: learning curves, events of some samples, spikes and membranes of every\n"
        "layer, confusion matrix, spike rates and operations, agreement of the export. The page needs no other file.\n"
        "What neuro evaluate and neuro export have found is shown; run them before."
    ),
    examples=(("neuro report runs/demo", "writes runs/demo/report.html"),),
    add_arguments=add_run,
    run=_run,
)
