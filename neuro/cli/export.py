"""``neuro export``: the network of a run as a file for hardware, and proof that it spikes the same."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuro.cli.command import Command, Parser
from neuro.cli.console import complain, log_file, say
from neuro.cli.run import Run, add_run, given_run
from neuro.errors import InputError

if TYPE_CHECKING:
    from neuro.hardware import Agreement

__all__ = ["command"]


def _add_arguments(parser: Parser) -> None:
    add_run(parser)
    parser.add_argument(
        "--target", metavar="NAME", default="nir", help="file format (default nir, the only one so far)"
    )
    parser.add_argument(
        "--path", metavar="FILE", type=Path, help="file to write (default network.nir in the run folder)"
    )
    parser.add_argument(
        "--check", action="store_true", help="write no file: compare the one that is there with this run's network"
    )


def _run(arguments: argparse.Namespace) -> int:
    run, config = given_run(arguments)
    path = run.nir if arguments.path is None else arguments.path
    _check_place(path, arguments)
    from neuro import hardware
    from neuro.cli.assembly import load_run

    with log_file(run.log):
        data, net = load_run(run, config)
        net = net.cpu()
        content: dict[str, Any] = {}
        if not arguments.check:
            written = hardware.export(net, path, arguments.target, overwrite=arguments.path is None)
            say(f"{written}\n")
            content["export"] = written.to_dict()
        x, _ = data.test.tensors()
        agreement = hardware.compare(net, path, x)
        run.write(run.agreement, agreement.to_dict() | content)
    say(f"{agreement}\n")
    return _verdict(run, path, agreement)


def _check_place(path: Path, arguments: argparse.Namespace) -> None:
    if arguments.check and not path.is_file():
        raise InputError(f"{path} does not exist, there is nothing to check; leave out --check to write it")
    if not arguments.check and arguments.path is not None and path.exists():
        raise InputError(f"{path} exists; name another --path, or compare it as it is with --check")


def _verdict(run: Run, path: Path, agreement: Agreement) -> int:
    if agreement.exact:
        samples = agreement.rows[0].samples
        say(f"every spike of all {samples} test samples is the same after reading {path} back; {run.agreement}")
        return 0
    complain(f"{path} does not give the spikes of {run.training.weights}; see the reasons above and in {run.agreement}")
    return 1


command = Command(
    name="export",
    summary="write the network of a run for neuromorphic hardware and prove that it spikes the same",
    description=(
        "Write the trained network to a file for neuromorphic hardware (NIR), read the file back, run the whole test split\n"
        "through both networks and compare every spike. Where Norse and snnTorch are installed they load the same file and\n"
        "run it too; the table says how far they agree, layer by layer, and why they differ. export.json keeps it.\n"
        "Exit status 1: the file read back does not give the same spikes."
    ),
    examples=(
        ("neuro export runs/demo", "writes runs/demo/network.nir"),
        ("neuro export runs/demo --path /tmp/net.nir", "writes it elsewhere"),
        ("neuro export runs/demo --check", "compares runs/demo/network.nir as it is on disk"),
    ),
    add_arguments=_add_arguments,
    run=_run,
)
