"""The EGRU against a plain torch loop and torch's GRU of the same size: medians of interleaved runs.

``python benchmarks/egru.py`` prints a line for each case and writes ``benchmarks/results/egru.json``. Thresholds are
set so that the share of units that send an event is the one named; torch's GRU is always dense, as is the input.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

import neuro

RESULT = Path(__file__).parent / "results" / "egru.json"
SIZES = ((35, 1, 750, 1350), (35, 32, 128, 512))  # T, B, inputs, units: one stream of a language model; a batch
ACTIVITIES = (0.02, 0.1, 0.5)
Job = Callable[[], Any]


def interleaved(jobs: Mapping[str, Job], repeats: int) -> dict[str, float]:
    """Median seconds of each job; all of them run once per round."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for k in range(repeats + 1):  # the first round compiles and is not counted
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if k:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


@torch.no_grad()
def layer(inputs: int, units: int, x: torch.Tensor, activity: float) -> neuro.EGRU:
    """A layer whose thresholds make about that share of its outputs events."""
    torch.manual_seed(0)
    cell = neuro.EGRU(inputs, units, surrogate=neuro.Surrogate("triangle", 1 / 3.6, 0.7))
    low, high = -1.0, 1.5
    for _ in range(12):
        middle = (low + high) / 2
        cell.v_threshold.fill_(middle)
        low, high = (middle, high) if float((cell(x)[0] != 0).float().mean()) > activity else (low, middle)
    return cell


def case(size: tuple[int, int, int, int], activity: float, repeats: int) -> dict[str, Any]:
    """Times of one size and activity."""
    steps, batch, inputs, units = size
    x = torch.randn(steps, batch, inputs, generator=torch.Generator().manual_seed(1))
    cell, gru = layer(inputs, units, x, activity), torch.nn.GRU(inputs, units)

    def forward(run: Callable[[torch.Tensor], Any]) -> None:
        with torch.no_grad():
            run(x)

    def both(run: Callable[[torch.Tensor], Any], module: torch.nn.Module) -> None:
        run(x)[0].sum().backward()
        module.zero_grad()

    loop = partial(cell, backend="reference")
    jobs: dict[str, Job] = {}
    for name, run, module in (("egru", cell, cell), ("loop", loop, cell), ("torch_gru", gru, gru)):
        jobs[f"{name}_forward"] = partial(forward, run)
        jobs[f"{name}_step"] = partial(both, run, module)
    seen = float((cell(x)[0] != 0).float().mean())
    made = {name: round(1e3 * seconds, 3) for name, seconds in interleaved(jobs, repeats).items()}
    return {"T": steps, "B": batch, "inputs": inputs, "units": units, "activity": round(seen, 3), "ms": made}


def main() -> None:
    """Measure all cases and write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    made = []
    for size in SIZES:
        for activity in ACTIVITIES:
            made.append(case(size, activity, options.repeats))
            print(made[-1])
    RESULT.write_text(
        json.dumps({"threads": options.threads, "torch": torch.__version__, "cases": made}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
