"""What a memory in sparse codes holds: winners recalled right, and known told from new, as random patterns are stored.

``python benchmarks/sparse_memory.py`` (no data; a minute) writes ``benchmarks/results/sparse_memory.json`` and a picture. Five seeds;
200 inputs, 20 of them active, unless said. "Capacity" is the number of patterns up to which 95 % of all winners come back.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from matplotlib.figure import Figure
from torch import Tensor

from neuro.files import atomic_write
from neuro.memory import SparseMemory
from neuro.report.style import LAYERS, MUTED, figure, styled

RESULTS = Path(__file__).resolve().parent / "results" / "sparse_memory.json"
SEEDS = range(5)
COUNTS = (10, 20, 30, 40, 50, 60, 80, 100, 130, 160, 200, 260)
SIZES = (
    {"inputs": 200, "active": 20, "modules": 24, "units": 8},
    {"inputs": 200, "active": 20, "modules": 24, "units": 16},
    {"inputs": 200, "active": 20, "modules": 24, "units": 32},
    {"inputs": 400, "active": 20, "modules": 24, "units": 16},
    {"inputs": 200, "active": 20, "modules": 96, "units": 16},
)


def patterns(count: int, inputs: int, active: int, seed: int) -> Tensor:
    """``[count, inputs]``, ``active`` of them 1 in each."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.stack([torch.randperm(inputs, generator=generator)[:active] for _ in range(count)])
    return torch.zeros(count, inputs).scatter(1, chosen, 1.0)


def area(known: Tensor, new: Tensor) -> float:
    """Probability that something known looks more familiar than something new (area under the curve)."""
    above = known.unsqueeze(1) > new
    level = known.unsqueeze(1) == new
    return float((above.double() + level.double() / 2).mean())


def one(size: dict[str, int], seed: int) -> dict[int, dict[str, float]]:
    """Store pattern by pattern; look back at each of COUNTS."""
    memory = SparseMemory(size["inputs"], modules=size["modules"], units=size["units"], seed=seed)
    x = patterns(COUNTS[-1] + 100, size["inputs"], size["active"], seed)
    codes: list[Tensor] = []
    found = {}
    for count in COUNTS:
        started = time.thread_time()
        codes += [memory.store(row.unsqueeze(0)).codes for row in x[len(codes) : count]]
        spent = (time.thread_time() - started) / (count - max((c for c in COUNTS if c < count), default=0))
        recalled = [memory.recall(row.unsqueeze(0)) for row in x[:count]]
        new = torch.cat([memory.recall(row.unsqueeze(0)).familiarity for row in x[-100:]])
        right = torch.cat([seen.codes for seen in recalled]) == torch.cat(codes)
        found[count] = {
            "winners_right": float(right.double().mean()),
            "known_from_new": area(torch.cat([seen.familiarity for seen in recalled]), new),
            "fill": memory.fill,
            "milliseconds": 1e3 * spent,
        }
    return found


def measure(size: dict[str, int]) -> dict[str, Any]:
    """Means over seeds."""
    runs = [one(size, seed) for seed in SEEDS]
    kinds = ("winners_right", "known_from_new", "fill")
    curves = {kind: [round(statistics.mean(run[c][kind] for run in runs), 4) for c in COUNTS] for kind in kinds}
    times = [round(statistics.median(run[c]["milliseconds"] for run in runs), 3) for c in COUNTS]
    held = [c for c, right in zip(COUNTS, curves["winners_right"], strict=True) if right >= 0.95]
    return {**size, "patterns": COUNTS, **curves, "milliseconds_to_store_one": times, "capacity": max(held, default=0)}


@styled
def draw(rows: list[dict[str, Any]]) -> Figure:
    """Both measures over the number of patterns."""
    drawn = figure(3.9)
    axes = drawn.subplots(1, 2, sharex=True)
    for row, colour in zip(rows, LAYERS, strict=True):
        said = f"{row['inputs']} inputs, {row['modules']} modules of {row['units']}"
        for place, kind in zip(axes, ("winners_right", "known_from_new"), strict=True):
            place.plot(row["patterns"], row[kind], "o-", color=colour, markersize=3, label=said)
    axes[0].axhline(0.95, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes[0].set_title("winners that come back")
    axes[1].set_title("known told from new (area under the curve)")
    for place in axes:
        place.set_xlabel("stored patterns, each seen once")
        place.grid(axis="y")
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn


def main() -> None:
    """Measure and draw."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    rows = [measure(dict(size)) for size in SIZES]
    for row in rows:
        print({name: row[name] for name in ("inputs", "modules", "units", "capacity")}, flush=True)
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    draw(rows).savefig(RESULTS.with_suffix(".png"), facecolor="white")


if __name__ == "__main__":
    main()
