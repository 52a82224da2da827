"""Learning rules on MNIST: a spiking network 784-400-10, the epoch chosen on validation, tested once.

``python benchmarks/rules_mnist.py FOLDER RULE...`` reads the four idx.gz files of FOLDER, trains by each rule named on
one thread (seed 0) and adds its figures to ``benchmarks/results/rules_mnist.json``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

import neuro
from neuro.datasets import Pictures, mnist
from neuro.files import atomic_write
from neuro.training.evaluate import evaluate
from neuro.training.rules import BPTT, OTTT, SLTT, EProp, Rule, local

RESULTS = Path(__file__).resolve().parent / "results" / "rules_mnist.json"
HIDDEN = 400


@dataclass(frozen=True)
class Config:
    """What a rule is run with."""

    rule: Rule
    epochs: int
    steps: int = 10
    lr: float = 3e-3
    tau: float = 4e-3
    weight_decay: float = 0.0


CONFIGS: Mapping[str, Config] = MappingProxyType(
    {
        "bptt": Config(BPTT(), epochs=8),
        "sltt": Config(SLTT(), epochs=8),
        "ottt": Config(OTTT(), epochs=8),
        "eprop": Config(EProp(), epochs=8),
        "decolle": Config(local.DECOLLE(), epochs=8),
        "lls": Config(local.LLS("random"), epochs=8),
        "ff": Config(local.ForwardForward(sharpness=200.0, label=5.0), epochs=12, steps=6, lr=5e-3),
        "lls_m": Config(local.LLSModulated("random"), epochs=8),
        "lls_mxm": Config(local.LLSMatrix("random"), epochs=8),
        "tess": Config(local.TESS("random"), epochs=8),
        "man": Config(local.MAN(), epochs=8),
        "synthetic": Config(local.Synthetic(), epochs=8),
        "tpsgd": Config(local.TPSGD(rate=1.0, active=0.25), epochs=15, lr=1e-2),
        "drtp": Config(local.DRTP(), epochs=20, steps=6, lr=1e-2, tau=1.2e-3),
    }
)


def build(config: Config) -> neuro.Sequential:
    """784-400-10: spikes in the middle, membranes at the end."""
    torch.manual_seed(0)
    return neuro.Sequential(
        neuro.Linear(784, HIDDEN),
        neuro.LIF(HIDDEN, tau=config.tau, reset="subtract", learn=()),
        neuro.Linear(HIDDEN, 10),
        neuro.LI(10, tau=2e-3, learn=()),
    )


def run(name: str, folder: Path) -> dict[str, Any]:
    """Train and test one rule."""
    config = CONFIGS[name]
    data, net = mnist(folder, steps=config.steps), build(config)
    neuro.calibrate(net, data.train.tensors()[0][:, :256], drive=1.0)
    started, held = time.process_time(), _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak so far is forgotten
    fitted = neuro.fit(
        net,
        data,
        config.rule,
        "mean_membrane",
        epochs=config.epochs,
        batch_size=128,
        lr=config.lr,
        weight_decay=config.weight_decay,
        calibrated=True,
        progress=False,
    )
    made = {
        "rule": repr(config.rule),
        "steps": config.steps,
        "epochs": config.epochs,
        "best_epoch": fitted.best_epoch,
        "validation_accuracy": fitted.validation_accuracy,
        "test_accuracy": evaluate(net, data, loss="mean_membrane").accuracy,
        "processor_seconds": round(time.process_time() - started),
        "peak_memory_mib_above_data": round(_resident("VmHWM") - held),
        "validation_curve": [round(row["validation_accuracy"], 4) for row in fitted.history],
    }
    if isinstance(config.rule, local.ForwardForward):
        made["test_accuracy_by_goodness"] = by_goodness(config.rule, net, data.test)
    return made


def _resident(what: str) -> float:
    """Memory of this process on Linux, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def by_goodness(rule: local.ForwardForward, net: neuro.Sequential, split: Pictures) -> float:
    """Accuracy where every label is tried in the input."""
    x, y = split.tensors()
    right = [
        (rule.predict(net, some) == truth).sum() for some, truth in zip(x.split(500, 1), y.split(500), strict=True)
    ]
    return int(sum(right)) / len(y)


def main() -> None:
    """The rules named on the command line."""
    torch.set_num_threads(1)
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(CONFIGS)
    for name in names:
        row = run(name, folder)
        print(name, json.dumps(row), flush=True)
        rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        RESULTS.parent.mkdir(exist_ok=True)
        with atomic_write(RESULTS) as temporary:
            temporary.write_text(json.dumps(rows | {name: row}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
