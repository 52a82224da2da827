"""SoftHebb features without labels and a linear readout: MNIST and the N-MNIST subset.

``python benchmarks/softhebb.py mnist FOLDER`` (or ``nmnist FILE``) lets one layer learn from the training split by SoftHebb,
trains a linear readout on its features, whose epoch validation chooses, looks at the test set once and adds the
figures to ``benchmarks/results/softhebb.json``, beside those of the same layer before it has learned and of random
weights.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor

import neuro
from neuro.datasets import mnist, nmnist
from neuro.files import atomic_write
from neuro.plasticity import SoftHebb, Triangle, imprint, learn_locally
from neuro.training.evaluate import evaluate

RESULTS = Path(__file__).resolve().parent / "results" / "softhebb.json"
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Part:
    """Features ``[S, N]`` of one split, each a sequence of one step."""

    features: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.features[i].unsqueeze(0), int(self.labels[i])

    def tensors(self) -> tuple[Tensor, Tensor]:
        """``[1, S, N]`` and ``[S]``."""
        return self.features.unsqueeze(0), self.labels


@dataclass(frozen=True)
class Splits:
    """The three of them."""

    train: Part
    validation: Part
    test: Part
    name: str
    classes: tuple[str, ...] = tuple("0123456789")


def inputs(name: str, source: Path) -> dict[str, Part]:
    """Every sample as a vector of mean 0 and length 1; a recording as the logarithm of the events in each saccade."""
    data = mnist(source, steps=1) if name == "mnist" else nmnist(source, dt=0.1, duration=0.3)
    made = {}
    for part in PARTS:
        x, y = getattr(data, part).tensors()
        rows = x.transpose(0, 1).flatten(1).log1p() if name == "nmnist" else x[0]
        rows = rows - rows.mean(1, keepdim=True)
        made[part] = Part(torch.nn.functional.normalize(rows, dim=1), torch.as_tensor(y))
    return made


@torch.no_grad()
def features(trunk: neuro.Sequential, part: Part, scale: Tensor | None) -> tuple[Part, Tensor]:
    """What the layer answers, in units of the mean over the training split."""
    made = torch.cat([trunk(rows.unsqueeze(0))[0][0] for rows in part.features.split(500)])
    scale = made.mean() if scale is None else scale
    return Part(made / scale, part.labels), scale


def readout(trunk: neuro.Sequential, data: dict[str, Part], given: argparse.Namespace) -> dict[str, Any]:
    """Train the readout; test the epoch that validation chose."""
    train, scale = features(trunk, data["train"], None)
    validation, test = (features(trunk, data[part], scale)[0] for part in PARTS[1:])
    splits = Splits(train, validation, test, given.data)
    torch.manual_seed(given.seed)
    net = neuro.Sequential(neuro.Linear(given.neurons, 10))
    options = {"epochs": given.epochs, "batch_size": 100, "lr": given.readout_lr, "weight_decay": given.weight_decay}
    fitted = neuro.fit(net, splits, "bptt", "mean_membrane", calibrated=True, seed=given.seed, **options)
    return {
        "validation_accuracy": fitted.validation_accuracy,
        "test_accuracy": evaluate(net, splits, loss="mean_membrane").accuracy,
        "best_epoch": fitted.best_epoch,
        "validation_curve": [round(row["validation_accuracy"], 4) for row in fitted.history],
    }


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Three layers: random, imprinted, and imprinted and learned."""
    data, made = inputs(given.data, given.source), {}
    rows = data["train"].features
    torch.manual_seed(given.seed)
    layer = neuro.Linear(rows.shape[1], given.neurons, bias=False)
    trunk = neuro.Sequential(layer, Triangle(given.power))
    with torch.no_grad():
        layer.weight.copy_(torch.nn.functional.normalize(torch.randn(layer.weight.shape), dim=1))
    made["random"] = readout(trunk, data, given)
    imprint(layer, rows, noise=0.02, seed=given.seed)
    made["imprinted"] = readout(trunk, data, given)
    started = time.process_time()
    rule = SoftHebb(beta=given.beta, power=0.0)
    learn_locally(trunk, rows.unsqueeze(0), {"0": rule}, lr=given.lr, passes=given.passes, seed=given.seed)
    spent = time.process_time() - started
    made["learned"] = readout(trunk, data, given) | {
        "rule": repr(rule),
        "processor_seconds_of_learning": round(spent, 1),
    }
    return made


def main() -> None:
    """One run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", choices=("mnist", "nmnist"))
    parser.add_argument("source", type=Path, help="folder of MNIST, folder or archive of N-MNIST")
    parser.add_argument("--neurons", type=int, default=2000)
    parser.add_argument("--beta", type=float, default=20.0, help="how sharp the competition is")
    parser.add_argument("--lr", type=float, default=5.0, help="of the layer, falling to 0")
    parser.add_argument("--passes", type=int, default=1, help="over the training split, without labels")
    parser.add_argument("--power", type=float, default=2.0, help="of the features")
    parser.add_argument("--epochs", type=int, default=10, help="of the readout")
    parser.add_argument("--readout-lr", type=float, default=1e-2)
    parser.add_argument("--weight-decay", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    row = run(given) | {key: value for key, value in vars(given).items() if key not in ("data", "source")}
    print(json.dumps(row), flush=True)
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    RESULTS.parent.mkdir(exist_ok=True)
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(
            json.dumps(rows | {f"{given.data}_seed{given.seed}": row}, indent=2) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
