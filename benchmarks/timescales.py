"""How a network comes to remember long depends on how it is taught: N-parity with one head, with many, with the newest few.

``python benchmarks/timescales.py multi`` teaches leaky units the parity of the last N bits, N rising by one whenever more than
98 % are right: with ``single`` the one question is replaced by the next, with ``multi`` it is added to those before, with
``sliding`` the newest ten are kept. Time constants begin just above one step, where they can only grow, and learn at a
rate of their own. Some minutes for each run, which lie in ``--runs`` and go on from there. Writes
``benchmarks/results/timescales.json`` (steps taken, mean time constant and the accuracy of every N so far, at each N solved) and a
picture beside it. (Khajehabdollahi et al. 2024, ICLR.)
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor

import neuro
from neuro.datasets.memory_tasks import parity
from neuro.files import atomic_write
from neuro.training.curriculum import HEADS, Curriculum, Lesson, teach

RESULT = Path(__file__).parent / "results" / "timescales.json"
FIRST = 2


def signed(stages: Sequence[int], batch: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """N-parity of bits -1 and 1."""
    x, y = parity(stages, batch, generator=generator)
    return 2 * x - 1, y


def time_constants(net: neuro.Network) -> dict[str, float]:
    """Of the leaky units, in steps."""
    (layer,) = (m for m in net.modules() if isinstance(m, neuro.LeakyRNN))
    tau = layer.time_constants().detach() / layer.dt
    return {"tau": float(tau.mean()), "tau_std": float(tau.std()), "tau_max": float(tau.max())}


def run(given: argparse.Namespace) -> Lesson:
    """Teach until the longest N is solved or the budget is spent."""
    torch.manual_seed(given.seed)
    layer = neuro.LeakyRNN(1, given.units, tau=(1e-3, 1.1e-3))
    curriculum = Curriculum(range(FIRST, given.longest + 1), heads=given.curriculum)
    net = neuro.Sequential(layer, neuro.Linear(given.units, 2 * len(curriculum.stages)))
    weights = [p for p in net.parameters() if p is not layer.raw]
    groups = [{"params": weights, "lr": given.lr}, {"params": [layer.raw], "lr": given.tau_lr}]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))

    def clip(*_: Any) -> None:
        """At one step, as in the paper's code; just above, where the slope is that of what lies above."""
        layer.raw.data.clamp_(min=1e-6)

    optimizer.register_step_post_hook(clip)
    folder = given.runs / f"{given.curriculum}-{given.seed}"
    return teach(
        net,
        signed,
        curriculum,
        optimizer=optimizer,
        note=time_constants,
        budget=given.budget,
        batch_size=given.batch,
        check_every=100,
        seed=given.seed,
        output=folder,
        resume=folder.exists(),
    )


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Steps that it took and time constants, over the longest N solved."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, made in found.items():
        longest = [row["stage"] for row in made["stages"]]
        left.plot(longest, [row["steps"] for row in made["stages"]], "o-", label=name)
        right.plot(longest, [row["tau"] for row in made["stages"]], "o-", label=name)
    left.set(xlabel="longest N solved", ylabel="training steps")
    right.set(xlabel="longest N solved", ylabel="mean time constant [steps]")
    left.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run one curriculum, add it to the results, draw what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("curriculum", choices=HEADS)
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--budget", type=int, default=20_000, help="steps of training")
    parser.add_argument("--longest", type=int, default=14)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--tau-lr", type=float, default=3e-3, help="rate of the time constants, in steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, required=True, help="folder of checkpoints")
    given = parser.parse_args()
    torch.set_num_threads(1)
    start, lesson = time.process_time(), run(given)
    stages = [
        {"stage": p.stage, "steps": p.step, **p.noted, "accuracy": [round(a, 3) for a in p.accuracy]}
        for p in lesson.promotions
    ]
    options = {k: v for k, v in vars(given).items() if k != "runs"}
    made = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    seconds = round(time.process_time() - start)
    made[f"{given.curriculum} {given.seed}"] = options | {
        "processor_seconds": seconds,
        "steps": lesson.steps,
        "stages": stages,
    }
    with atomic_write(RESULT) as temporary:
        temporary.write_text(json.dumps(dict(sorted(made.items())), indent=1) + "\n", encoding="utf-8")
    draw(made, RESULT.with_suffix(".png"))


if __name__ == "__main__":
    main()
