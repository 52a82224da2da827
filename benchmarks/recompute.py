"""Memory and time of a training step that recomputes: 700-256-256-20, T=100, B=64, input 4 % active.

``python benchmarks/recompute.py`` prints a table and writes ``benchmarks/results/recompute.json``.
Kept is what autograd holds between forward and backward, but for weights and input; the lengths
of a stretch are timed in turn in one process.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

import neuro

RESULT = Path(__file__).parent / "results" / "recompute.json"
STRETCHES = (None, 50, 34, 25, 10)
REPEATS = 25


def network() -> neuro.Sequential:
    """Weights are scaled so that hidden layers fire in about 2 % of steps."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for (into, out), gain in zip(((700, 256), (256, 256), (256, 20)), (1.5, 4.0, 4.0), strict=True):
        layers += [neuro.Linear(into, out), neuro.LIF(out, tau=20e-3, r=20.0, learn=())]
        with torch.no_grad():
            layers[-2].get_parameter("weight").mul_(gain)
    return neuro.Sequential(*layers)


def kept_megabytes(net: neuro.Sequential, x: Tensor, recompute: int | None) -> float:
    """What the graph of one forward pass holds; ``x`` is ``[T, B, 700]``."""
    own = {t.untyped_storage().data_ptr() for t in (*net.parameters(), *net.buffers(), x)}
    seen: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            seen[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        net(x, recompute=recompute)
    bytes_: int = sum(t.untyped_storage().nbytes() for t in seen.values())
    return bytes_ / 1e6


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    net = network()
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(100, 64, 700, generator=generator) < 0.04).float()
    y = torch.randint(0, 20, (64,), generator=generator)
    seconds: dict[int | None, list[float]] = {k: [] for k in STRETCHES}
    for round_ in range(REPEATS + 2):
        for k in STRETCHES:
            start = time.perf_counter()
            net.zero_grad()
            torch.nn.functional.cross_entropy(net(x, recompute=k)[0].sum(0), y).backward()
            if round_ >= 2:
                seconds[k].append(time.perf_counter() - start)
    whole = statistics.median(seconds[None])
    rows = [
        {
            "recompute": k,
            "kept MB": kept_megabytes(net, x, k),
            "ms": 1e3 * statistics.median(seconds[k]),
            "times the whole": statistics.median(seconds[k]) / whole,
        }
        for k in STRETCHES
    ]
    for row in rows:
        print(json.dumps(row))
    RESULT.write_text(json.dumps({"threads": 1, "repeats": REPEATS, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
