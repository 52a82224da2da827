"""What ``neuro.fit`` costs beside the bare loop: the same batches, rule, optimizer and validation, one thread.

``python benchmarks/trainer.py`` trains a network 784-400-10 on random pictures for a few epochs by either, in turns, and writes
``benchmarks/results/trainer.json``. Figures are processor seconds, which other programs on the machine disturb least.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor

import neuro
from neuro.files import atomic_write
from neuro.training.batches import batches
from neuro.training.optimizer import build_optimizer

RESULTS = Path(__file__).resolve().parent / "results" / "trainer.json"
STEPS, SAMPLES, EPOCHS, BATCH, ROUNDS = 10, 4000, 3, 50, 9
LR, DECAY = 3e-3, 0.0


@dataclass(frozen=True)
class Pictures:
    """Random pictures shown for ``STEPS`` steps."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.x[i].expand(STEPS, -1), int(self.y[i])

    def tensors(self) -> tuple[Tensor, Tensor]:
        """``[T, S, 784]`` and ``[S]``."""
        return self.x.expand(STEPS, *self.x.shape), self.y


@dataclass(frozen=True)
class Data:
    """Two splits; the third is not looked at."""

    train: Pictures
    validation: Pictures
    test: None = None
    name: str = "random pictures"
    classes: tuple[str, ...] = tuple("0123456789")


def make_data() -> Data:
    draw = torch.Generator().manual_seed(0)
    train, validation = (
        Pictures(torch.rand(n, 784, generator=draw), torch.arange(n) % 10) for n in (SAMPLES, SAMPLES // 10)
    )
    return Data(train, validation)


def make_net() -> neuro.Sequential:
    torch.manual_seed(0)
    return neuro.Sequential(
        neuro.Linear(784, 400), neuro.LIF(400, tau=4e-3), neuro.Linear(400, 10), neuro.LI(10, tau=4e-3)
    )


def bare(data: Data) -> None:
    """What one would write without a trainer, with the same four figures for each epoch."""
    net, rule, loss = make_net(), neuro.rules.BPTT(), neuro.losses.max_membrane
    train = batches(data.train, BATCH, seed=0, like=next(net.parameters()))
    check = batches(data.validation, BATCH, like=next(net.parameters()))
    neuro.calibrate(net, next(iter(train))[0])
    optimizer = build_optimizer(net, lr=LR, cell_lr=LR, weight_decay=DECAY)
    for _ in range(EPOCHS):
        net.train()
        figures = [0.0] * 4
        for x, y in train:
            optimizer.zero_grad()
            result = rule.backward(net, x, y, loss)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            figures[0] += float(result.loss) * len(y)
            figures[1] += int((result.read(loss).argmax(1) == y).sum())
        net.eval()
        with torch.no_grad():
            for x, y in check:
                output, _ = net(x)
                figures[2] += float(loss(output, y)) * len(y)
                figures[3] += int((loss.logits(output).argmax(1) == y).sum())


def fitted(data: Data) -> None:
    """The same by the trainer."""
    neuro.fit(
        make_net(),
        data,
        loss="max_membrane",
        epochs=EPOCHS,
        batch_size=BATCH,
        lr=LR,
        cell_lr=LR,
        weight_decay=DECAY,
        schedule="constant",
        progress=False,
    )


def seconds(run: Callable[[Data], None], data: Data) -> float:
    started = time.process_time()
    run(data)
    return time.process_time() - started


def main() -> None:
    torch.set_num_threads(1)
    data = make_data()
    bare(data)
    fitted(data)  # kernels compiled, Lightning imported
    taken: dict[str, list[float]] = {"bare loop": [], "neuro.fit": []}
    for _ in range(ROUNDS):
        taken["bare loop"].append(seconds(bare, data))
        taken["neuro.fit"].append(seconds(fitted, data))
    ratios = [b / a for a, b in zip(*taken.values(), strict=True)]
    found = {
        "what": f"784-400-10, T = {STEPS}, {SAMPLES} pictures, batches of {BATCH}, {EPOCHS} epochs, bptt, one thread",
        "processor_s": {name: statistics.median(values) for name, values in taken.items()},
        "ratio": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
    }
    print(json.dumps(found, indent=2))
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
