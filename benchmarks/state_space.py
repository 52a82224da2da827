"""Diagonal state spaces by steps and as a convolution: where one is faster than the other, forward and in training.

One thread, float32, 64 channels of 32 complex modes; the two take turns, medians of processor time.
``python benchmarks/state_space.py`` prints and writes ``results/state_space.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

import neuro

RESULT = Path(__file__).parent / "results" / "state_space.json"
CHANNELS, MODES = 64, 32
SIZES = ((1, 8), (16, 8), (32, 8), (64, 8), (128, 8), (256, 8), (1024, 8), (64, 1), (1024, 1))
RUNS = ("recurrence", "convolution")


def once(layer: neuro.S4D, x: torch.Tensor, mode: str, training: bool) -> float:
    """Seconds of processor time of one pass, with its backward where ``training``."""
    start = time.process_time()
    with torch.set_grad_enabled(training):
        y, _ = layer(x, mode=mode)
        if training:
            y.sum().backward()
    return time.process_time() - start


def main() -> None:
    """Time both modes at all sizes and write the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layer, rows = neuro.S4D(CHANNELS, modes=MODES), []
    for steps, batch in SIZES:
        x = torch.randn(steps, batch, CHANNELS)
        for training in (False, True):
            seconds: dict[str, list[float]] = {mode: [] for mode in RUNS}
            for repeat in range(options.repeats + 1):  # the first, which compiles, does not count
                for mode in RUNS:
                    took = once(layer, x, mode, training)
                    seconds[mode] += [took] if repeat else []
            ms = {mode: round(1e3 * statistics.median(all_of), 3) for mode, all_of in seconds.items()}
            ratio = round(ms["recurrence"] / ms["convolution"], 2)
            rows.append({"steps": steps, "batch": batch, "training": training, "ms": ms, "ratio": ratio})
            print(json.dumps(rows[-1]), flush=True)
    found = {"threads": 1, "channels": CHANNELS, "modes": MODES, "dtype": "float32", "rows": rows}
    options.output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
