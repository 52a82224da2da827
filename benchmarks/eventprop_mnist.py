"""MNIST by EventProp: pixels as latencies, 400 current-based LIF neurons, exact gradients in continuous time.

``python benchmarks/eventprop_mnist.py FOLDER`` with the four files of MNIST in FOLDER, by default ``$NEURO_SHARED_DATA/mnist``,
trains one network for each seed on one thread and writes ``benchmarks/results/eventprop_mnist.json`` after each. Training
pictures are shifted by up to one pixel, anew each time. The epoch is chosen on the last 10,000 training pictures, the
test set is read once for each seed, by the network of that epoch: from spike to spike, as it is trained, and by steps of
1 ms, as it would run on a chip.

Time constants of 40 and 20 ms keep a membrane rising until the end of the 25 ms. A spike that is lost then leaves at
the end, where it counts for nothing: the loss stays continuous, and neurons do not fall silent unseen by the gradient.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import resource
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor

import neuro
from neuro.encoding.readouts import mean_membrane
from neuro.files import atomic_write
from neuro.training.losses import Loss
from neuro.training.rules import EventProp
from neuro.training.rules.event_driven import event_driven

RESULT = Path(__file__).resolve().parent / "results" / "eventprop_mnist.json"
STEPS, DT, LAST, SEEN = 25, 1e-3, 14, 0.2  # the darkest pixel that is seen spikes in step LAST
TAU_MEM, TAU_SYN, TAU_OUT = 40e-3, 20e-3, 20e-3
HIDDEN, HELD_BACK, BATCH = 400, 10000, 64


def read(folder: Path, kind: str) -> tuple[Tensor, Tensor]:
    """Images ``[S, 784]`` (uint8) and labels ``[S]`` of ``kind`` "train" or "t10k"."""
    images, labels = (
        np.frombuffer(gzip.decompress((folder / f"{kind}-{name}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
        for name, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return torch.tensor(images).view(-1, 784), torch.tensor(labels).long()


def shifted(images: Tensor) -> Tensor:
    """``[S, 784]``, each moved by -1, 0 or 1 pixels in both directions, what enters black."""
    padded = torch.nn.functional.pad(images.view(-1, 28, 28), (1, 1, 1, 1))
    down, right = torch.randint(0, 3, (2, len(images), 1)) + torch.arange(28)
    return padded[torch.arange(len(images)).view(-1, 1, 1), down.unsqueeze(2), right.unsqueeze(1)].flatten(1)


def latencies(images: Tensor) -> Tensor:
    """``[S, 784]`` to one spike ``[T, S, 784]`` for each pixel above a fifth of white, the brighter the earlier."""
    bright = images.float() / 255
    step = ((1 - bright) * LAST).round().long()
    return torch.zeros(STEPS, *images.shape).scatter_(0, step.unsqueeze(0), (bright > SEEN).float().unsqueeze(0))


def network() -> neuro.Sequential:
    """784-400-10; currents spread so widely that some neurons spike twice and most, at first, not at all."""
    net = neuro.Sequential(
        neuro.Linear(784, HIDDEN, bias=False),
        neuro.CuBaLIF(HIDDEN, tau_mem=TAU_MEM, tau_syn=TAU_SYN, method="exponential", learn=()),
        neuro.Linear(HIDDEN, 10, bias=False),
        neuro.LI(10, tau=TAU_OUT, method="exponential", learn=()),
    )
    with torch.no_grad():
        net.get_parameter("0.weight").normal_(0.01, 0.3).div_(gain(TAU_SYN))
        net.get_parameter("2.weight").normal_(0.0, 0.05).div_(gain(TAU_OUT))
    return net


def gain(tau: float) -> float:
    """What a step of input leaves in a state of time constant ``tau`` (seconds)."""
    return -math.expm1(-DT / tau)


@torch.no_grad()
def judged(net: neuro.Sequential, images: Tensor, labels: Tensor, *, by_steps: bool = False) -> tuple[float, float]:
    """Share of ``images [S, 784]`` told right, and spikes for each hidden neuron and image (0 by steps)."""
    right, spikes = 0, 0
    for part, y in zip(images.split(500), labels.split(500), strict=True):
        x = latencies(part)
        if by_steps:
            output = net(x)[0]
        else:
            run = event_driven(net, x)
            output, spikes = run.output, spikes + run.spikes[0].time.numel()
        right += int((output.mean(0).argmax(1) == y).sum())
    return right / len(labels), spikes / len(labels) / HIDDEN


def train(folder: Path, seed: int, epochs: int) -> dict[str, Any]:
    """One network: its learning curve, and its test at the epoch chosen."""
    torch.manual_seed(seed)
    images, labels = read(folder, "train")
    kept = len(images) - HELD_BACK
    net, rule, loss = network(), EventProp(), Loss("scaled_mean", lambda output: 8 * mean_membrane(output))
    rates = [1e-2 / gain(TAU_SYN), 2e-3 / gain(TAU_OUT)]
    groups = [{"params": [net.get_parameter(name)]} for name in ("0.weight", "2.weight")]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=epochs * (kept // BATCH) + 1, pct_start=0.1, cycle_momentum=False
    )
    curve: list[float] = []
    chosen, wall, processor = net.state_dict(), time.perf_counter(), time.process_time()
    for epoch in range(epochs):
        for batch in torch.randperm(kept).split(BATCH)[: kept // BATCH]:
            optimizer.zero_grad()
            rule.backward(net, latencies(shifted(images[batch])), labels[batch], loss)
            optimizer.step()
            schedule.step()
        found, rate = judged(net, images[kept:], labels[kept:])
        seconds = time.process_time() - processor
        print(f"seed {seed} epoch {epoch + 1}: {found:.4f}, {rate:.2f} spikes, {seconds:.0f} s", flush=True)
        if found > max(curve, default=0.0):
            chosen = {name: value.clone() for name, value in net.state_dict().items()}
        curve.append(found)
    row = {
        "processor_seconds": round(time.process_time() - processor),
        "wall_seconds": round(time.perf_counter() - wall),
    }
    net.load_state_dict(chosen)
    test = read(folder, "t10k")
    found, rate = judged(net, *test)
    return {
        "seed": seed,
        "best_epoch": 1 + curve.index(max(curve)),
        "validation_accuracy": max(curve),
        "test_accuracy": found,
        "test_accuracy_by_steps": judged(net, *test, by_steps=True)[0],
        "spikes_per_hidden_neuron": round(rate, 3),
        **row,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "validation_curve": curve,
    }


def main() -> None:
    """Train, choose the epoch, test; once for each seed."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    default = Path(os.environ.get("NEURO_SHARED_DATA", "../shared/data")) / "mnist"
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        rows.append(train(options.folder, seed, options.epochs))
        tests = [row["test_accuracy"] for row in rows]
        made = {
            "network": [784, HIDDEN, 10],
            "epochs": options.epochs,
            "threads": 1,
            "test_mean": statistics.mean(tests),
            "test_spread": statistics.stdev(tests) if len(tests) > 1 else 0.0,
            "runs": rows,
        }
        with atomic_write(options.output) as temporary:
            temporary.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
