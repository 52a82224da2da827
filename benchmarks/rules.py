"""What learning rules cost: memory over the number of steps, and time beside BPTT.

``python benchmarks/rules.py`` writes ``benchmarks/results/rules.json``. Memory is the highest sum of tensors held at once
during one ``backward`` of a rule, beyond the network, its gradients and the input, as torch's own profiler counts them.
Times are medians of the processor time of interleaved runs on one thread, with a loss on the mean membrane, whose error is
known at the end of the sequence only, and with TET, which is a sum over steps.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import neuro
from neuro.training.losses import Loss
from neuro.training.rules import BPTT, OTTT, RTRL, SLTT, SLTTK, TBPTT, EProp, Rule

RESULTS = Path(__file__).parent / "results" / "rules.json"
BATCH, INPUTS, HIDDEN, CLASSES = 16, 100, 128, 10
STEPS = (10, 100, 1000)
REPEATS = 9


def batch(steps: int, samples: int = BATCH) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(steps, samples, INPUTS, generator=generator) < 0.05).float()
    return x, torch.arange(samples) % CLASSES


def network(x: Tensor, hidden: int = HIDDEN, *, layers: int = 1, recurrent: bool = False) -> neuro.Sequential:
    torch.manual_seed(0)
    made: list[torch.nn.Module] = []
    inputs = INPUTS
    for _ in range(layers):
        cell = neuro.LIF(hidden, tau=10e-3)
        made += [neuro.Linear(inputs, hidden), neuro.Recurrent(cell) if recurrent else cell]
        inputs = hidden
    return neuro.calibrate(neuro.Sequential(*made, neuro.Linear(hidden, CLASSES), neuro.LI(CLASSES)), x)


def learn(rule: Rule, net: neuro.Sequential, x: Tensor, y: Tensor, loss: Loss = neuro.losses.mean_membrane) -> None:
    net.zero_grad(set_to_none=False)
    rule.backward(net, x, y, loss)


def peak_bytes(rule: Rule, net: neuro.Sequential, x: Tensor, y: Tensor) -> int:
    learn(rule, net, x, y)  # kernels and buffers of gradients are there
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        learn(rule, net, x, y)
    held = highest = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            highest = max(highest, held)
    return highest


def memory() -> dict[str, dict[str, int]]:
    rules: dict[str, tuple[Rule, bool]] = {
        "BPTT": (BPTT(), False),
        "TBPTT(10)": (TBPTT(10), False),
        "SLTT(chunk=10)": (SLTT(10), False),
        "OTTT(chunk=10)": (OTTT(10), False),
        "RTRL(chunk=10)": (RTRL(10), False),
        "EProp(chunk=10)": (EProp(10), True),
    }
    found: dict[str, dict[str, int]] = {}
    for name, (rule, recurrent) in rules.items():
        net = network(batch(10)[0], recurrent=recurrent)
        found[name] = {str(steps): peak_bytes(rule, net, *batch(steps)) for steps in STEPS}
        shown = {k: f"{v / 1e6:.2f} MB" for k, v in found[name].items()}
        print(name, shown, f"x {max(found[name].values()) / min(found[name].values()):.3f}", flush=True)
    return found


def times(steps: int = 100, hidden: int = 400, samples: int = 64) -> dict[str, dict[str, float]]:
    x, y = batch(steps, samples)
    rules: dict[str, Rule] = {
        "BPTT": BPTT(),
        f"SLTT(chunk={steps})": SLTT(steps),
        "SLTT": SLTT(),
        "SLTTK(4)": SLTTK(4, seed=0),
        f"OTTT(chunk={steps})": OTTT(steps),
        "TBPTT(10)": TBPTT(10),
    }
    net = network(x, hidden, layers=3)
    losses = (neuro.losses.mean_membrane, neuro.losses.tet)
    taken: dict[tuple[str, str], list[float]] = {(loss.name, name): [] for loss in losses for name in rules}
    for k in range(REPEATS + 1):
        for loss in losses:
            for name, rule in rules.items():
                start = time.process_time()
                learn(rule, net, x, y, loss)
                if k:
                    taken[loss.name, name].append(time.process_time() - start)
    found = {loss.name: {n: statistics.median(taken[loss.name, n]) for n in rules} for loss in losses}
    for loss_name, row in found.items():
        for name, seconds in row.items():
            print(f"{loss_name:14} {name:16} {1e3 * seconds:7.1f} ms  {seconds / row['BPTT']:.2f} of BPTT", flush=True)
    return found


def main() -> None:
    torch.set_num_threads(1)
    report = {
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "threads": 1,
            "load": os.getloadavg()[0],
        },
        "memory_bytes": {"batch": BATCH, "inputs": INPUTS, "hidden": HIDDEN, "peak": memory()},
        "seconds": {"steps": 100, "batch": 64, "hidden": [400] * 3, "repeats": REPEATS, "median": times()},
    }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
