"""SpikeGPT's recurrence in one kernel against the same steps in torch: medians of interleaved runs.

``python benchmarks/wkv.py`` prints a line for each size and writes ``benchmarks/results/wkv.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from neuro.kernels.scans.wkv import wkv

RESULT = Path(__file__).parent / "results" / "wkv.json"
SIZES = ((1024, 4, 256), (1024, 1, 768), (256, 12, 768))  # tokens, samples, channels
BACKENDS = ("numba", "reference")


def once(leaves: dict[str, torch.Tensor], backend: str) -> tuple[float, float]:
    """Seconds of a forward pass and of the backward pass after it."""
    start = time.perf_counter()
    y, _ = wkv(leaves["k"], leaves["v"], leaves["w"], leaves["u"], backend=backend)
    between = time.perf_counter()
    y.sum().backward()
    return between - start, time.perf_counter() - between


def case(size: tuple[int, int, int], repeats: int) -> dict[str, Any]:
    """Median times of one size."""
    g = torch.Generator().manual_seed(0)
    leaves = {n: torch.randn(size if n in "kv" else size[2:], generator=g) for n in "kvwu"}
    leaves["w"] = -leaves["w"].exp()
    leaves = {n: t.requires_grad_() for n, t in leaves.items()}
    seen: dict[str, list[tuple[float, float]]] = {b: [] for b in BACKENDS}
    for k in range(repeats + 1):  # the first round compiles and is not counted
        for backend, times in seen.items():
            taken = once(leaves, backend)
            if k:
                times.append(taken)
    made: dict[str, Any] = {"T": size[0], "B": size[1], "C": size[2]}
    for part, name in enumerate(("forward", "backward")):
        fused, loop = (statistics.median(t[part] for t in seen[b]) for b in BACKENDS)
        made |= {f"{name}_ms": round(1e3 * fused, 2), f"{name}_loop_ms": round(1e3 * loop, 2)}
        made[f"{name}_times"] = round(loop / fused, 1)
    return made


def main() -> None:
    """Measure all sizes and write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    made = []
    for size in SIZES:
        made.append(case(size, options.repeats))
        print(made[-1])
    text = {"threads": options.threads, "dtype": "float32", "torch": torch.__version__, "cases": made}
    RESULT.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
