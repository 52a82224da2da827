"""How a network comes to remember long depends on how it is taught: N-parity with one head or with many.

``python benchmarks/timescales.py`` teaches leaky units the parity of the last N bits, N rising by one whenever more than
98 % are right: with ``single`` the one question is replaced by the next, with ``multi`` it is added to those before.
Some minutes for each run. Writes ``benchmarks/results/timescales.json`` (steps taken, mean time constant and the accuracy of
every N so far, at each N solved) and a picture beside it. (Khajehabdollahi et al. 2024, ICLR.)
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

import neuro
from neuro.datasets.memory_tasks import parity

RESULT = Path(__file__).parent / "results" / "timescales.json"


@dataclass(frozen=True)
class Stage:
    """Where a curriculum stood when N was solved: steps taken, mean time constant in steps, accuracy of each N so far."""

    longest: int
    steps: int
    tau: float
    accuracy: tuple[float, ...]


def teach(curriculum: str, *, units: int, batch: int, budget: int, longest: int, seed: int) -> list[Stage]:
    """Train until ``longest`` is solved or ``budget`` steps are spent; one stage for each N solved."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    layer, heads = neuro.LeakyRNN(1, units), torch.nn.Linear(units, 2 * longest)
    parameters = [*layer.parameters(), *heads.parameters()]
    optimizer = torch.optim.SGD(parameters, 0.05, momentum=0.1, nesterov=True)

    def answers(x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = heads(layer(2 * x - 1)[1][0])  # of the last state
        return made.view(-1, longest, 2)  # a head for each N

    def accuracy(lags: list[int]) -> torch.Tensor:
        with torch.no_grad():
            x, y = parity(lags, 1000, generator=generator)
            return (answers(x)[:, [n - 1 for n in lags]].argmax(2) == y).float().mean(0)

    solved: list[Stage] = []
    lags = [2]
    for step in range(1, budget + 1):
        x, y = parity(lags, batch, generator=generator)
        made = answers(x)[:, [n - 1 for n in lags]]
        loss = F.cross_entropy(made.flatten(0, 1), y.flatten()) * len(lags)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 2.0)
        optimizer.step()
        if step % 100 == 0:
            right = accuracy(lags)
            if float(right.mean()) > 0.98 and float(right[-1]) > 0.98:
                tau = float(layer.time_constants().detach().mean() / layer.dt)
                every = accuracy(list(range(2, lags[-1] + 1)))
                solved.append(Stage(lags[-1], step, tau, tuple(round(float(a), 3) for a in every)))
                print(f"{curriculum} {seed}: N = {lags[-1]} after {step} steps, tau {tau:.2f} steps", flush=True)
                if lags[-1] == longest:
                    break
                lags = [*(lags if curriculum == "multi" else ()), lags[-1] + 1]
    return solved


def draw(found: Mapping[str, Sequence[Stage]], path: Path) -> None:
    """Steps that it took and time constants, over the longest N solved."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, stages in found.items():
        longest = [s.longest for s in stages]
        left.plot(longest, [s.steps for s in stages], "o-", label=name)
        right.plot(longest, [s.tau for s in stages], "o-", label=name)
    left.set(xlabel="longest N solved", ylabel="training steps")
    right.set(xlabel="longest N solved", ylabel="mean time constant [steps]")
    left.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run one curriculum, add it to the results, draw what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("curriculum", choices=("single", "multi"))
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--budget", type=int, default=20_000, help="steps of training")
    parser.add_argument("--longest", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = vars(parser.parse_args())
    start = time.perf_counter()
    stages = teach(**given)
    made = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    minutes = round((time.perf_counter() - start) / 60, 1)
    made[f"{given['curriculum']} {given['seed']}"] = given | {"minutes": minutes, "stages": [asdict(s) for s in stages]}
    RESULT.write_text(json.dumps(dict(sorted(made.items())), indent=1) + "\n")
    draw({name: [Stage(**s) for s in run["stages"]] for name, run in made.items()}, RESULT.with_suffix(".png"))


if __name__ == "__main__":
    main()
