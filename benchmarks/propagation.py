"""Event propagation against PyTorch's dense and sparse products, side by side in one process.

Dense weights 1350 x 4050 (float32) at several activities and batch sizes, in each mode of
``event_linear``; and steps of a Brunel-like network over CSR and over connections made anew.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch.nn import functional as F

from neuro.kernels.propagation.event_linear import event_linear
from neuro.kernels.propagation.procedural import Procedural, procedural_product
from neuro.kernels.propagation.propagate import propagate

RESULT = Path(__file__).parent / "results" / "propagation.json"
INPUTS, OUTPUTS = 1350, 4050
ACTIVITIES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
BATCHES = (1, 4, 8, 64)
BURST = 3
Job = Callable[[], object]


def interleaved(jobs: Mapping[str, Job], repeats: int) -> dict[str, float]:
    """Median time of each job in microseconds.

    The jobs take turns in random order. A turn is one call that is not timed, which finds the caches
    as the others left them, and three that are: each job is seen as it is in a loop of its own.
    """
    times: dict[str, list[float]] = {name: [] for name in jobs}
    # On one thread its own processor time: what others do on the machine meanwhile does not count.
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    order, shuffle = list(jobs), random.Random(0).shuffle
    for _ in range(repeats):
        shuffle(order)
        for name in order:
            jobs[name]()
            for _ in range(BURST):
                start = clock()
                jobs[name]()
                times[name].append(1e6 * (clock() - start))
    return {name: round(statistics.median(samples), 1) for name, samples in times.items()}


def dense_weights(repeats: int) -> list[dict[str, float]]:
    """One row for each batch size and activity; ``x`` has exactly that share of ones in all."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(INPUTS, OUTPUTS, generator=generator).t()  # stored as neuro.Linear stores it
    plain = weight.contiguous()  # torch.mv's better layout
    table = []
    for batch in BATCHES:
        for activity in ACTIVITIES:
            x = torch.zeros(batch * INPUTS)
            x[torch.randperm(len(x), generator=generator)[: round(activity * len(x))]] = 1
            x = x.view(batch, INPUTS)
            jobs: dict[str, Job] = {
                "dense": lambda x=x: event_linear(x, weight, mode="dense"),  # type: ignore[misc]
                "event": lambda x=x: event_linear(x, weight, mode="event"),  # type: ignore[misc]
                "auto": lambda x=x: event_linear(x, weight),  # type: ignore[misc]
                "torch": lambda x=x: torch.mv(plain, x[0]) if len(x) == 1 else F.linear(x, plain),  # type: ignore[misc]
            }
            found = interleaved(jobs, repeats if batch < 64 else max(3, repeats // 3))
            table.append({"batch": batch, "activity": activity, **found})
    return table


def brunel(repeats: int, steps: int = 100) -> dict[str, float]:
    """12 500 neurons, 1250 targets each, one weight, delay of 15 steps, 0.32 % active in a step: us per step."""
    made = Procedural(12_500, 12_500, seed=1, number=1250, a=0.1)
    connections, weight = made.csr()
    delayed = type(connections)(connections.indptr, connections.indices, connections.post, 15)
    generator = torch.Generator().manual_seed(0)
    spread = torch.randint(1, 31, (connections.synapses,), generator=generator, dtype=torch.int32)
    own = type(connections)(connections.indptr, connections.indices, connections.post, spread)
    x = (torch.rand(steps, 1, 12_500, generator=generator) < 0.0032).float()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that PyTorch's sparse tensors are in beta
        indices = torch.stack([connections.indices.long(), connections.rows()])
        values = torch.full((connections.synapses,), 0.1)
        matrix = torch.sparse_coo_tensor(indices, values, (12_500, 12_500)).to_sparse_csr()  # [post, pre]
    each = torch.full((connections.synapses,), 0.1)
    jobs: dict[str, Job] = {
        "csr, one weight, one delay": lambda: propagate(x, delayed, weight),
        "csr, own weights, own delays": lambda: propagate(x, own, each, finite=True),
        "made anew from the seed": lambda: procedural_product(x, made),
    }
    found = {name: round(value / steps, 1) for name, value in interleaved(jobs, repeats).items()}
    found["torch sparse CSR, one step"] = interleaved({"torch": lambda: torch.mv(matrix, x[0, 0])}, 3)["torch"]
    found["spikes in a step"] = round(float(x.sum()) / steps, 1)
    return found


def main() -> None:
    """Print the tables and keep them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    results: dict[str, object] = {"cores": os.cpu_count(), "repeats": arguments.repeats, "torch": torch.__version__}
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        with torch.no_grad():
            table, steps = dense_weights(arguments.repeats), brunel(max(3, arguments.repeats // 8))
        print(f"{threads} thread(s), us\nbatch active  torch   dense   event    auto  torch/auto  auto/better")
        for row in table:
            better = min(row["dense"], row["event"])
            print(
                f"{row['batch']:5} {row['activity']:6.0%} {row['torch']:7.0f} {row['dense']:7.0f} {row['event']:7.0f} "
                f"{row['auto']:7.0f} {row['torch'] / row['auto']:10.2f} {row['auto'] / better:11.2f}"
            )
        for name, value in steps.items():
            print(f"{name:<32} {value:9.1f}")
        results[f"threads {threads}"] = {"dense weights, us": table, "Brunel step, us": steps}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
