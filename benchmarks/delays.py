"""Learnable delays against a convolution with the materialised kernel, side by side in one process.

A training step (forward, gradients of weights and delays; of the input too, where it says so) of
140 -> 256 synapses, D = 25 steps, and 512 -> 512, D = 31, T = 100, float32; and the rounded form.
Time is the process's own on one thread; memory is the peak of the process above what it held before,
each in a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from neuro.kernels.delays.delayed_linear import delayed_linear, delayed_reference, extend
from neuro.kernels.delays.rounded import rounded_linear

RESULT = Path(__file__).parent / "results" / "delays.json"
TIME = 100
SMALL, LARGE = (140, 256, 25), (512, 512, 31)  # inputs, outputs, D: a layer of the paper's SHD and of its SSC network
ACTIVITIES = (0.0, 0.01, 0.04, 0.1, 0.15, 0.2, 0.4, 1.0)
MODES = ("event", "dense", "auto")
Job = Callable[[], object]


def given(batch: int, activity: float, size: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes, weights stored as :class:`neuro.DelayedLinear` stores them, delays."""
    generator = torch.Generator().manual_seed(0)
    inputs, outputs, taps = size
    x = (torch.rand(TIME, batch, inputs, generator=generator) < activity).float()
    weight = (0.1 * torch.randn(inputs, outputs, generator=generator)).t().requires_grad_()
    delay = ((taps - 1) * torch.rand(inputs, outputs, generator=generator)).t().requires_grad_()
    return x, weight, delay


def step(form: str, taps: int, x: Tensor, weight: Tensor, delay: Tensor, sigma: float = 3.0) -> tuple[Tensor, ...]:
    """One training step; ``form`` is a mode, or ``conv1d`` with its kernel ``[O, I, D]``."""
    if form == "conv1d":
        y = delayed_reference(extend(x, None, taps - 1)[0], weight, delay, sigma, taps)
    else:
        y = delayed_linear(x, weight, delay, sigma, taps=taps, mode=form)[0]
    leaves = [a for a in (x, weight, delay) if a.requires_grad]
    return torch.autograd.grad(y, leaves, torch.ones_like(y))


def rounded(form: str, taps: int, x: Tensor, weight: Tensor, delay: Tensor) -> Tensor:
    """Evaluation: whole delays in a mode, or ``conv1d`` with the kernel of training."""
    with torch.no_grad():
        inputs = extend(x, None, taps - 1)[0]
        if form == "conv1d":
            return delayed_reference(inputs, weight, delay, 3.0, taps)
        return rounded_linear(inputs, weight, delay.round().int(), taps=taps, mode=form)


def interleaved(jobs: Mapping[str, Job], repeats: int) -> dict[str, float]:
    """Median time of each job in milliseconds; they take turns in random order."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    # On one thread its own processor time: what others do on the machine meanwhile does not count.
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    order, shuffle = list(jobs), random.Random(0).shuffle
    for job in jobs.values():
        job()
    for _ in range(repeats):
        shuffle(order)
        for name in order:
            start = clock()
            jobs[name]()
            times[name].append(1e3 * (clock() - start))
    return {name: round(statistics.median(samples), 2) for name, samples in times.items()}


def timings(repeats: int) -> list[dict[str, object]]:
    """One row for each batch size, input rate and form of the step."""
    table: list[dict[str, object]] = []
    cases = [(64, a, SMALL) for a in ACTIVITIES] + [(32, 0.04, SMALL), (32, 0.04, LARGE)]
    for batch, activity, size in cases:
        x, weight, delay = given(batch, activity, size)
        about = {"synapses": f"{size[0]} -> {size[1]}, D {size[2]}", "batch": batch, "activity": activity}
        wanted = {"parameters": x, "parameters and input": x.clone().requires_grad_()}
        jobs: dict[str, dict[str, Job]] = {
            name: {form: partial(step, form, size[2], first, weight, delay) for form in ("conv1d", *MODES)}
            for name, first in wanted.items()
        }
        jobs["none, rounded"] = {form: partial(rounded, form, size[2], x, weight, delay) for form in ("conv1d", *MODES)}
        for name, forms in jobs.items():
            row = interleaved(forms, repeats)
            table.append({**about, "gradients": name, **row})
            print("  ".join(f"{key} {value}" for key, value in table[-1].items()), flush=True)
    return table


def peak(form: str, size: tuple[int, int, int], gradients: str) -> float:
    """Peak memory of one step at B = 32 and 4 % beyond what its arguments take, in MB."""
    x, weight, delay = given(32, 0.04, size)
    step(form, 3, *given(1, 0.04, (9, 9, 3)))  # libraries loaded, loops compiled
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew (Linux)
    before = _resident("VmRSS")
    step(form, size[2], x.requires_grad_(gradients != "parameters"), weight, delay)
    return _resident("VmHWM") - before


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def memory() -> list[dict[str, object]]:
    """Peak of each form, in a process of its own."""
    table: list[dict[str, object]] = []
    for size, gradients in itertools.product(("small", "large"), ("parameters", "parameters and input")):
        row: dict[str, object] = {"size": size, "batch": 32, "activity": 0.04, "gradients": gradients}
        for form in ("conv1d", "event", "dense"):
            command = [sys.executable, __file__, "--peak", form, "--size", size, "--gradients", gradients]
            ran = subprocess.run(command, capture_output=True, text=True, check=True)
            row[form] = round(float(ran.stdout), 1)
        table.append(row)
    return table


def main() -> None:
    """Print the tables and keep them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peak", help="print the peak memory of this form and stop")
    parser.add_argument("--gradients", default="parameters")
    parser.add_argument("--size", choices=("small", "large"), default="small")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        print(peak(arguments.peak, LARGE if arguments.size == "large" else SMALL, arguments.gradients))
        return
    rows, peaks = timings(arguments.repeats), memory()
    for row in peaks:
        print("peak MB: " + "  ".join(f"{key} {value}" for key, value in row.items()))
    sizes = {"time": TIME, "sigma in steps": 3.0}
    about = {"cores": os.cpu_count(), "threads": arguments.threads, "repeats": arguments.repeats, **sizes}
    RESULT.write_text(json.dumps({**about, "torch": torch.__version__, "ms": rows, "peak MB": peaks}, indent=1) + "\n")


if __name__ == "__main__":
    main()
