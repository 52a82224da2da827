"""Cells beside the machine's copy bandwidth: LIF, CuBaLIF, ALIF and a cell of one's own with three states.

``python benchmarks/cells.py`` prints a table and writes ``benchmarks/results/cells.json``. A
layer given its current has to read it and write its spikes; a training step has also to write
the membrane and read it back, to read the gradient of the spikes and to write that of the
current. Those bytes over the time taken are set against copying a block that no cache holds
(each byte read once and written once), and against copying one as large as the layer's own
arrays. Everything is timed in turn in one process, medians are quoted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import neuro

T, B, N = 100, 64, 512
RESULT = Path(__file__).parent / "results" / "cells.json"


class Bursting(neuro.Cell):
    """A neuron with a synaptic current ``i`` and a slow adaptation ``a``: a user's own, in three lines."""

    equations = neuro.Equations(
        "Bursting",
        """
        di/dt = (x - i) / tau_syn
        dv/dt = (v_leak - v + i - a) / tau
        da/dt = (g * v - a) / tau_a
        spike when v > v_threshold
        reset value: v = v_reset
        """,
        {
            "tau_syn": neuro.Parameter(5e-3, "s", positive=True),
            "tau": neuro.Parameter(20e-3, "s", positive=True),
            "tau_a": neuro.Parameter(0.2, "s", positive=True),
            "g": neuro.Parameter(0.3, "1"),
            "v_leak": neuro.Parameter(0.0, "V"),
            "v_threshold": neuro.Parameter(1.0, "V"),
            "v_reset": neuro.Parameter(0.0, "V"),
        },
    )


def interleaved(jobs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each job, taken in turn; the first three rounds warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for round_ in range(repeats + 3):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if round_ >= 3:
                seconds[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(values) for name, values in seconds.items()}


def measure(threads: int, repeats: int) -> dict[str, Any]:
    """Times of every cell, and the bandwidth they reach as a share of copying."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x = 0.1 * torch.randn(T, B, N) + 0.07
    leaf, cotangent = x.clone().requires_grad_(), torch.randn(T, B, N)
    alike: dict[str, Any] = {"learn": (), "tau": 20e-3}
    cells = {
        "LIF": neuro.LIF(N, r=20.0, **alike),
        "CuBaLIF": neuro.CuBaLIF(N, r=20.0, tau_mem=20e-3, learn=()),
        "ALIF": neuro.ALIF(N, learn=()),
        "own, 3 states": Bursting(N, **alike),
    }
    jobs: dict[str, Callable[[], Any]] = {}
    large, small = torch.ones(2**25), torch.ones(T, B, N)
    into, room = torch.empty_like(large), torch.empty_like(small)
    jobs["copy of 128 MiB"] = lambda: into.copy_(large)
    jobs["copy of 12.5 MiB"] = lambda: room.copy_(small)

    def forward(cell: neuro.Cell) -> None:
        with torch.no_grad():
            cell(x)

    def step(cell: neuro.Cell) -> None:
        leaf.grad = None
        cell(leaf)[0].backward(cotangent)

    for name, cell in cells.items():
        jobs[f"{name}, forward"] = lambda cell=cell: forward(cell)  # type: ignore[misc]
        jobs[f"{name}, step"] = lambda cell=cell: step(cell)  # type: ignore[misc]
    times = interleaved(jobs, repeats)
    array = x.numel() * 4
    rate = {"copy of 128 MiB": 2 * 4 * large.numel(), "copy of 12.5 MiB": 2 * array}
    rate |= {"LIF, forward": 2 * array, "LIF, step": 6 * array}
    bandwidth = {name: moved / times[name] / 1e6 for name, moved in rate.items()}
    return {
        "threads": threads,
        "ms": times,
        "GB/s": bandwidth,
        "share of copy bandwidth": {k: bandwidth[k] / bandwidth["copy of 128 MiB"] for k in rate if "LIF" in k},
        "times LIF": {f"{n}, {k}": times[f"{n}, {k}"] / times[f"LIF, {k}"] for n in cells for k in ("forward", "step")},
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    results = [measure(threads, options.repeats) for threads in options.threads]
    print(json.dumps(results, indent=1))
    RESULT.write_text(json.dumps({"T": T, "B": B, "N": N, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
