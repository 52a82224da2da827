"""EventProp beside BPTT on the same network, by activity and time step: a training step of each, in turn.

``python benchmarks/eventprop.py`` writes ``benchmarks/results/eventprop.json``. The network is that of the spoken
digits of the EventProp papers, 700 inputs, 256 recurrent neurons, 20 leaky integrators, without its recurrent synapses,
and with 1024 neurons. Both rules are the library's own, BPTT with its fused loops and its sums over spikes only;
activity is the share of inputs that spike in a step, and weights are scaled so that the neurons are about as active: 1 % at
0.1 ms is 100 Hz, 0.1 % is 10 Hz, or 1 % in a millisecond. Processor seconds, medians of pairs timed one after the other,
one thread.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor

import neuro
from neuro.training.losses import mean_membrane
from neuro.training.rules import BPTT, EventProp, Rule
from neuro.training.rules.event_driven import event_driven

RESULT = Path(__file__).parent / "results" / "eventprop.json"
INPUTS, CLASSES = 700, 20

Case = tuple[int, float, float, int, bool]  # T, dt in seconds, activity, neurons, whether recurrent
CASES: tuple[Case, ...] = (
    (1000, 1e-4, 0.01, 256, True),
    (1000, 1e-4, 0.01, 256, False),
    (1000, 1e-4, 0.01, 1024, True),
    (1000, 1e-4, 0.001, 256, True),
    (1000, 1e-4, 0.001, 256, False),
    (1000, 1e-4, 0.001, 1024, True),
    (100, 1e-3, 0.01, 256, True),
    (100, 1e-3, 0.01, 256, False),
)


def network(dt: float, drive: float, hidden: int, *, recurrent: bool) -> neuro.Sequential:
    """Weights of ``drive`` volts of current, whatever ``dt`` (seconds) is."""
    torch.manual_seed(0)
    cell = neuro.CuBaLIF(hidden, dt=dt, method="exponential", learn=())
    net = neuro.Sequential(
        neuro.Linear(INPUTS, hidden, bias=False),
        neuro.Recurrent(cell) if recurrent else cell,
        neuro.Linear(hidden, CLASSES, bias=False),
        neuro.LI(CLASSES, dt=dt, method="exponential", learn=()),
    )
    gain = -math.expm1(-dt / 5e-3)
    with torch.no_grad():
        net.get_parameter("0.weight").normal_(drive, 3 * drive).div_(gain)
        if recurrent:
            net.get_parameter("1.weight").normal_(0, 0.32 / math.sqrt(hidden)).div_(gain)
    return net


def spikes_of(run: Any, x: Tensor) -> float:
    """Share of the recurrent neurons that spike in a step of ``x [T, B, N]``."""
    return float(run.spikes[0].time.numel() / (x.shape[0] * x.shape[1] * run.spikes[0].neurons))


def tuned(dt: float, x: Tensor, activity: float, hidden: int, *, recurrent: bool) -> neuro.Sequential:
    """The network whose neurons are about as active as ``x [T, B, N]``, by bisection of the drive; dt in seconds."""
    low, high = 1e-5, 1.0
    for _ in range(14):
        middle = math.sqrt(low * high)
        with torch.no_grad():
            rate = spikes_of(event_driven(network(dt, middle, hidden, recurrent=recurrent), x[:, :2]), x[:, :2])
        low, high = (middle, high) if rate < activity else (low, middle)
    return network(dt, low, hidden, recurrent=recurrent)


def training_step(rule: Rule, net: neuro.Sequential, x: Tensor, y: Tensor) -> float:
    """Processor seconds of forward and backward for ``x [T, B, N]``, ``y [B]``."""
    net.zero_grad()
    start = time.process_time()
    rule.backward(net, x, y, mean_membrane)
    return time.process_time() - start


def measure(case: Case, batch: int, repeats: int) -> dict[str, Any]:
    """Median seconds of a training step of each rule, and of their ratio."""
    steps, dt, activity, hidden, recurrent = case
    x = (torch.rand(steps, batch, INPUTS, generator=torch.Generator().manual_seed(1)) < activity).float()
    y = torch.arange(batch) % CLASSES
    net = tuned(dt, x, activity, hidden, recurrent=recurrent)
    with torch.no_grad():
        active = spikes_of(event_driven(net, x), x)
    seconds: dict[str, list[float]] = {"bptt": [], "eventprop": []}
    for repeat in range(repeats + 1):  # the first one warms up
        for name, rule in (("bptt", BPTT()), ("eventprop", EventProp())):
            taken = training_step(rule, net, x, y)
            if repeat:
                seconds[name].append(taken)
    pairs = [a / b for a, b in zip(seconds["bptt"], seconds["eventprop"], strict=True)]
    return {
        "hidden": hidden,
        "recurrent": recurrent,
        "T": steps,
        "dt": dt,
        "B": batch,
        "input_activity": activity,
        "hidden_activity": active,
        **{f"{name}_s": statistics.median(values) for name, values in seconds.items()},
        "ratio": statistics.median(pairs),
    }


def main() -> None:
    """Run the sizes of the comparison and write the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for case in CASES:
        rows.append(measure(case, 16, options.repeats))
        print(json.dumps(rows[-1]), flush=True)
    made = {
        "threads": 1,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "load": os.getloadavg(),
        "rows": rows,
    }
    options.output.write_text(json.dumps(made, indent=2) + "\n")


if __name__ == "__main__":
    main()
