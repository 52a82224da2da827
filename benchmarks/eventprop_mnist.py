"""MNIST by EventProp: pixels as latencies, 400 current-based LIF neurons, exact gradients in continuous time.

``python benchmarks/eventprop_mnist.py FOLDER`` with the four files of MNIST in FOLDER, by default ``$NEURO_SHARED_DATA/mnist``.
The epoch is chosen on 5,000 images held back from the training set; the test set is read once, at the end. It prints
accuracies of the network from spike to spike, as it is trained, and by steps of 1 ms, as it would run on a chip.
"""

import argparse
import gzip
import math
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor

import neuro
from neuro.encoding.readouts import mean_membrane
from neuro.training.losses import Loss
from neuro.training.rules import EventProp
from neuro.training.rules.event_driven import event_driven

STEPS, DT, LAST = 25, 1e-3, 14  # the darkest pixel that is seen spikes in step LAST
TAU_SYN, TAU_OUT, HELD_BACK, BATCH = 5e-3, 20e-3, 5000, 128


def read(folder: Path, kind: str) -> tuple[Tensor, Tensor]:
    """Images ``[S, 784]`` (uint8) and labels ``[S]`` of ``kind`` "train" or "t10k"."""
    images, labels = (
        np.frombuffer(gzip.decompress((folder / f"{kind}-{name}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
        for name, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return torch.tensor(images).view(-1, 784), torch.tensor(labels).long()


def latencies(images: Tensor) -> Tensor:
    """``[S, 784]`` to one spike ``[T, S, 784]`` for each pixel above a fifth of white, the brighter the earlier."""
    bright = images.float() / 255
    step = ((1 - bright) * LAST).round().long()
    return torch.zeros(STEPS, *images.shape).scatter_(0, step.unsqueeze(0), (bright > 0.2).float().unsqueeze(0))


def network() -> neuro.Sequential:
    """784-400-10, weights such that most neurons spike."""
    net = neuro.Sequential(
        neuro.Linear(784, 400, bias=False),
        neuro.CuBaLIF(400, tau_syn=TAU_SYN, method="exponential", learn=()),
        neuro.Linear(400, 10, bias=False),
        neuro.LI(10, tau=TAU_OUT, method="exponential", learn=()),
    )
    gains = gain(TAU_SYN), gain(TAU_OUT)
    with torch.no_grad():
        net.get_parameter("0.weight").normal_(0.06, 0.117).div_(gains[0])
        net.get_parameter("2.weight").normal_(0.0, 0.05).div_(gains[1])
    return net


def gain(tau: float) -> float:
    """What a step of input leaves in a state of time constant ``tau`` (seconds)."""
    return -math.expm1(-DT / tau)


@torch.no_grad()
def accuracy(net: neuro.Sequential, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Shares of ``images [S, 784]`` told right from spike to spike, and by steps."""
    right = [0, 0]
    for part, y in zip(images.split(500), labels.split(500), strict=True):
        x = latencies(part)
        for k, output in enumerate((event_driven(net, x).output, net(x)[0])):
            right[k] += int((output.mean(0).argmax(1) == y).sum())
    return right[0] / len(labels), right[1] / len(labels)


def main() -> None:
    """Train, choose the epoch, test."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    default = Path(os.environ.get("NEURO_SHARED_DATA", "../shared/data")) / "mnist"
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    images, labels = read(options.folder, "train")
    held, kept = torch.randperm(len(images), generator=torch.Generator().manual_seed(1)).split([HELD_BACK, 55000])
    net, rule, loss = network(), EventProp(), Loss("scaled_mean", lambda output: 8 * mean_membrane(output))
    rates = [
        {"params": [net.get_parameter("0.weight")], "lr": 4e-3 / gain(TAU_SYN)},
        {"params": [net.get_parameter("2.weight")], "lr": 4e-3 / gain(TAU_OUT)},
    ]
    optimizer = torch.optim.Adam(rates)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * (len(kept) // BATCH))
    best, chosen, start = 0.0, net.state_dict(), time.perf_counter()
    for epoch in range(options.epochs):
        for batch in kept[torch.randperm(len(kept))].split(BATCH)[:-1]:
            optimizer.zero_grad()
            rule.backward(net, latencies(images[batch]), labels[batch], loss)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        found, by_steps = accuracy(net, images[held], labels[held])
        seconds = time.perf_counter() - start
        print(f"epoch {epoch}: validation {found:.4f} ({by_steps:.4f} by steps), {seconds:.0f} s", flush=True)
        if found > best:
            best, chosen = found, {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(chosen)
    found, by_steps = accuracy(net, *read(options.folder, "t10k"))
    print(f"test {found:.4f} ({by_steps:.4f} by steps), {time.process_time():.0f} s of processor time")


if __name__ == "__main__":
    main()
