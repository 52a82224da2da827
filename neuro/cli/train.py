"""``neuro train``: from a configuration to a run folder with a trained network."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuro.cli.command import Command, Parser, add_flags, given_flags
from neuro.cli.config import MACHINE, TrainConfig
from neuro.cli.config_file import load_settings
from neuro.cli.console import complain, explain, log_file, say, table
from neuro.cli.run import Run, open_run
from neuro.cli.settings import flag, from_flags
from neuro.errors import InputError

if TYPE_CHECKING:
    import neuro
    from neuro.datasets import Parts
    from neuro.training.fit import FitResult

__all__ = ["command"]


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("--config", metavar="FILE", help="YAML file with any of the settings below; flags win over it")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume", action="store_true", help="go on with the run in the output folder, by its own config"
    )
    existing.add_argument("--overwrite", action="store_true", help="replace the run in the output folder")
    parser.add_argument(
        "--audit",
        action="store_true",
        help="compare the rule's gradient with that of bptt, layer by layer, in every epoch: gradients.csv, and log.txt for the first",
    )
    add_flags(parser, TrainConfig)


def _run(arguments: argparse.Namespace) -> int:
    run, config = _resumed(arguments) if arguments.resume else _fresh(arguments)
    from neuro.cli.assembly import build_network, check_logger, choose_device, load_data, use_threads
    from neuro.training.processes import started_as_first

    use_threads(config.threads)
    choose_device(config.device)
    check_logger(config.logger)
    data = load_data(config)
    net = build_network(config, data)
    if not started_as_first():  # with --devices, the launcher runs this command once more for each
        _fit(config, data, net, run, arguments)
        return 0
    if not arguments.resume:
        run.begin(config)
    _introduce(run, config, data, net)
    with _resumable(run), log_file(run.log):
        result = _fit(config, data, net, run, arguments)
        run.write(run.summary, _summary(config, result))
    _conclude(run, result)
    return 0


@contextmanager
def _resumable(run: Run) -> Iterator[None]:
    """Whatever ends training early, say how to go on."""
    later = f"to go on after the last finished epoch: {run.resume_command}"
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {later}") from None
    except SystemExit:  # what Lightning makes of SIGTERM
        complain(f"terminated; {later}")
        raise SystemExit(128 + signal.SIGTERM) from None
    except Exception as error:
        line = explain(error, [run.root])
        if line is None or isinstance(error, InputError):
            raise
        raise InputError(f"{line}; {later}") from error


def _wanted(arguments: argparse.Namespace) -> tuple[TrainConfig, set[str]]:
    """What file and flags say together, and which settings they name."""
    base = TrainConfig() if arguments.config is None else load_settings(TrainConfig, Path(arguments.config))
    given = given_flags(arguments, TrainConfig)
    return from_flags(base, given), {*base.model_fields_set, *given}


def _located(config: TrainConfig) -> TrainConfig:
    if config.output is not None:
        return config
    return config.model_copy(update={"output": Path("runs") / f"{config.dataset}-{config.rule}-seed{config.seed}"})


def _fresh(arguments: argparse.Namespace) -> tuple[Run, TrainConfig]:
    config = _located(_wanted(arguments)[0])
    assert config.output is not None
    run = Run(config.output)
    from neuro.training.processes import started_as_first

    if started_as_first():
        run.check_free(overwrite=arguments.overwrite)
    return run, config


def _resumed(arguments: argparse.Namespace) -> tuple[Run, TrainConfig]:
    wanted, named = _wanted(arguments)
    output = _located(wanted).output
    assert output is not None
    run = open_run(output)
    saved = run.load_config()
    for key in named - MACHINE - {"output"}:
        then, now = getattr(saved, key), getattr(wanted, key)
        if then != now:
            raise InputError(
                f"{flag(key)} is {now}, but the run in {output} was started with {then}; "
                "leave it out to go on, or train anew into another --output"
            )
    return run, saved.model_copy(update={key: getattr(wanted, key) for key in named & MACHINE})


def _introduce(run: Run, config: TrainConfig, data: Parts[Any], net: neuro.Sequential) -> None:
    from neuro.cli.assembly import describe

    rows, total = describe(net)
    say(str(data))
    say()
    say(table(["", "layer", "trained values"], [*rows, ["", "total", f"{total:,}"]]))
    say()
    say(f"{config.rule} on {config.device}, seed {config.seed}, into {run.root}")


def _fit(
    config: TrainConfig, data: Parts[Any], net: neuro.Sequential, run: Run, arguments: argparse.Namespace
) -> FitResult:
    from neuro.training.fit import fit
    from neuro.training.regularisers import SpikeRate

    bounded = config.rate_low is not None or config.rate_high is not None
    if config.temperature and len(config.temperature) != 2:
        raise InputError(f"--temperature takes two numbers, of the first and the last epoch, got {config.temperature}")
    return fit(
        net,
        data,
        rule=config.rule,
        loss=config.loss,
        epochs=config.epochs,
        batch_size=config.batch_size,
        lr=config.lr,
        cell_lr=config.cell_lr,
        weight_decay=config.weight_decay,
        optimizer=config.optimizer,
        clip=config.clip,
        schedule=config.schedule,
        temperature=(config.temperature[0], config.temperature[1]) if config.temperature else None,
        regularisers=[SpikeRate(config.rate_low, config.rate_high, config.rate_weight)] if bounded else [],
        precision=config.precision,
        select=config.select,
        select_on=config.select_on,
        patience=config.patience,
        seed=config.seed,
        output=run.root,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        logger=("csv", config.logger),
        devices=config.devices,
        audit=arguments.audit,
    )


def _summary(config: TrainConfig, result: FitResult) -> dict[str, Any]:
    import torch

    import neuro
    from neuro.cli.assembly import describe

    layers, total = describe(result.net)
    return {
        "dataset": config.dataset,
        "rule": config.rule,
        "loss": config.loss,
        "seed": config.seed,
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "selected_on": result.selected_on,
        "validation_accuracy": result.validation_accuracy,
        "last_epoch": dict(result.history[-1]),
        "layers": [{"name": name, "layer": layer} for name, layer, _ in layers],
        "parameters": total,
        "seconds": round(result.seconds, 3),
        "versions": {"neuro": neuro.__version__, "torch": torch.__version__},
    }


def _conclude(run: Run, result: FitResult) -> None:
    chosen = "validation" if result.selected_on == "validation" else "test-selected (too good to report)"
    say(
        f"{chosen} accuracy {100 * result.validation_accuracy:.2f} % in epoch {result.best_epoch} "
        f"of {len(result.history)}, {result.seconds:.1f} s"
    )
    say(f"network {run.training.weights}, curves {run.training.metrics}, config {run.config}")
    say(f"next: neuro evaluate {run.root}")


command = Command(
    name="train",
    summary="train a spiking network on events and keep the run in a folder",
    description=(
        "Train a network of LIF cells on an event data set. Settings come from --config and flags; flags win. The run\n"
        "folder gets the resolved config.yaml, metrics.csv, network.safetensors (weights of the epoch that was best on the\n"
        "validation split), checkpoints/last.ckpt, summary.json and log.txt. The test split is not touched. Ctrl-C or a\n"
        "kill loses at most the running epoch; --resume goes on and ends with the same result."
    ),
    examples=(
        ("neuro train --rule bptt --seed 0 --output runs/demo", "the digits, with backpropagation through time"),
        ("neuro train --rule sltt --hidden 256 128 --tau 0.02", "another rule, two hidden layers, 20 ms"),
        ("neuro train --config runs/demo/config.yaml --output runs/again", "the same run once more"),
        ("neuro train --resume --output runs/demo", "go on with a run that was interrupted"),
    ),
    add_arguments=_add_arguments,
    run=_run,
)
