"""Spiking controllers evolved to do what a PID controller does, then in the loop, beside that controller.

``python benchmarks/pid_mimic.py`` evolves 20 LIF neurons in 10 opposed pairs (a genome of 50 numbers): first the command
is to be that of a tuned PID on the same errors, then the root mean square error of a blimp's height in the closed loop is what
counts. Both are tried on references that evolution has not seen. About a minute of one thread. Writes
``benchmarks/results/pid_mimic.json`` and ``pid_mimic.png`` beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuro.evolution import BLIMP, CMAES, PID, SpikingController, closed_loop, evolve, mimicry

RESULT = Path(__file__).parent / "results" / "pid_mimic.json"
TEST = torch.tensor([3.0, 2.0, 1.0, 2.5, 1.5]).repeat_interleave(1800).unsqueeze(1)  # [T, 1], metres


def references(seed: int, hold: int = 300) -> Tensor:
    """Four courses of three heights, ``[3 * hold, 4]``."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(2, 7, (3, 4), generator=generator) / 2).repeat_interleave(hold, 0)


def rmse(wanted: Tensor, heights: Tensor) -> Tensor:
    """Of each controller, over time and courses."""
    return (wanted.unsqueeze(2) - heights).square().mean((0, 1)).sqrt()


def flown(genomes: Tensor, wanted: Tensor) -> Tensor:
    """Heights ``[T, B, P]`` of a blimp that each controller steers along each course."""
    controllers = SpikingController(genomes, dt=BLIMP.dt)
    course = wanted.unsqueeze(2).expand(-1, -1, len(genomes))
    return closed_loop(BLIMP, controllers.step, controllers.rest(wanted.shape[1]), course)[0]


def batch_gain(fitness: Callable[[Tensor], Tensor], genomes: Tensor) -> float:
    """How much sooner all are evaluated together than one after the other: median of three turns, interleaved."""
    ratios = []
    for _ in range(3):
        start = time.perf_counter()
        fitness(genomes)
        middle = time.perf_counter()
        for one in genomes:
            fitness(one.unsqueeze(0))
        ratios.append((time.perf_counter() - middle) / (middle - start))
    return sorted(ratios)[1]


def draw(heights: dict[str, Tensor], courses: dict[str, list[float]], path: Path) -> None:
    """Heights over time, and the course of evolution."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.2), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 2))
    axes = figure.add_subplot(grid[0, :])
    seconds = torch.arange(len(TEST)) * BLIMP.dt
    axes.plot(seconds, TEST[:, 0], color="#999999", linewidth=0.8, label="wanted")
    for (name, y), colour in zip(heights.items(), ("#444444", "#2980b9", "#c0392b"), strict=False):
        axes.plot(seconds, y[:, 0, 0], color=colour, linewidth=1, label=f"{name}: {float(rmse(TEST, y)):.3f} m")
    axes.set(xlabel="time [s]", ylabel="height [m]", title="A blimp steered by 20 spiking neurons")
    axes.legend(loc="upper right")
    for place, (name, course) in enumerate(courses.items()):
        axes = figure.add_subplot(grid[1, place])
        axes.plot(course, color="#c0392b", linewidth=0.9)
        axes.set(xlabel="generation", ylabel=name)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Evolve, fly, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--size", type=int, default=24, help="controllers of a generation")
    parser.add_argument("--mimic", type=int, default=400, help="generations after the PID controller")
    parser.add_argument("--closed", type=int, default=40, help="generations in the closed loop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, help="folder in which a run that is stopped goes on")
    given = parser.parse_args()
    torch.set_num_threads(1)
    pid, wanted = PID(), references(given.seed)
    heights, target = closed_loop(BLIMP, pid.step, pid.rest(4), wanted)
    error, unseen = wanted - heights, references(given.seed + 1)
    unseen_heights, unseen_target = closed_loop(BLIMP, pid.step, pid.rest(4), unseen)
    slow = references(given.seed + 2, 600)[:, :2]
    pid_flight = closed_loop(BLIMP, pid.step, pid.rest(1), TEST)[0].unsqueeze(2)

    def like_pid(genomes: Tensor) -> Tensor:
        return mimicry(SpikingController(genomes, dt=BLIMP.dt)(error)[0], target)

    def in_the_loop(genomes: Tensor) -> Tensor:
        return rmse(slow, flown(genomes, slow))

    held = [None if given.checkpoint is None else given.checkpoint / f"{part}.pt" for part in ("mimic", "closed")]
    start = time.process_time()
    generator = torch.Generator().manual_seed(given.seed)
    first = CMAES(0.5 * torch.randn(5 * given.pairs, generator=generator), 0.5, size=given.size, seed=given.seed)
    gain = batch_gain(like_pid, torch.randn(40, 5 * given.pairs, generator=generator))
    mimic, course = evolve(like_pid, first, given.mimic, checkpoint=held[0], progress=True)
    second = CMAES(mimic, 0.05, size=given.size, seed=given.seed)
    closed, later = evolve(in_the_loop, second, given.closed, checkpoint=held[1], progress=True)
    mimic_flight, closed_flight = (flown(genome.unsqueeze(0), TEST) for genome in (mimic, closed))
    answer = SpikingController(mimic.unsqueeze(0), dt=BLIMP.dt)(unseen - unseen_heights)[0]
    pearson = torch.corrcoef(torch.stack([answer.flatten(), unseen_target.flatten()]))[0, 1]
    row: dict[str, Any] = {name: value for name, value in vars(given).items() if name != "checkpoint"}
    row |= {"cpu_seconds": round(time.process_time() - start), "batch_of_40_gain": round(gain, 1)}
    row |= {
        "mimicry": min(course),
        "unseen_mimicry": float(mimicry(answer, unseen_target)),
        "unseen_pearson": float(pearson),
    }
    row |= {"rmse_pid": float(rmse(TEST, pid_flight)), "rmse_mimic": float(rmse(TEST, mimic_flight))}
    row |= {"rmse_closed": float(rmse(TEST, closed_flight))}
    RESULT.write_text(json.dumps(row, indent=1) + "\n")
    flights = {"PID": pid_flight, "after the PID": mimic_flight, "in the loop": closed_flight}
    draw(flights, {"mimicry": course, "closed loop [m]": later}, RESULT.with_suffix(".png"))
    print(json.dumps(row))


if __name__ == "__main__":
    main()
