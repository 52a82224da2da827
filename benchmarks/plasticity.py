"""Pair STDP over a sequence: ours, a plain PyTorch loop over traces, and the loops of other libraries.

784 x 400 weights, dense and CSR (10 % of the pairs), T = 250, batch 1, spikes on both sides at 1, 2 and 5 %.
Dense loops add two outer products in every step. "BindsNET style" is its PostPre written again here (its licence and
its dependencies keep it out); snnTorch runs its own ``stdp_linear_single_step``, which pairs spikes of the same step too.
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
from torch import Tensor, nn

from neuro.kernels.plasticity.law import TimingLaw
from neuro.kernels.plasticity.modulated import modulated_stdp
from neuro.kernels.plasticity.stdp import stdp
from neuro.kernels.propagation.csr import CSR

RESULT = Path(__file__).parent / "results" / "plasticity.json"
TIME, PRE, POST, SHARE = 250, 784, 400, 0.1
ACTIVITIES = (0.01, 0.02, 0.05)
FREE = TimingLaw(0.01, 0.012, 20e-3, 20e-3)
CLIPPED = TimingLaw(0.01, 0.012, 20e-3, 20e-3, w_min=0.0, w_max=1.0)
Job = Callable[[], object]


def interleaved(jobs: Mapping[str, Job], repeats: int) -> dict[str, float]:
    """Median time of each job in milliseconds; they take turns in random order, each after a call that is not timed."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    # On one thread its own processor time: what others do on the machine meanwhile does not count.
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    order, shuffle = list(jobs), random.Random(0).shuffle
    for _ in range(repeats):
        shuffle(order)
        for name in order:
            jobs[name]()
            start = clock()
            jobs[name]()
            times[name].append(1e3 * (clock() - start))
    return {name: round(statistics.median(samples), 3) for name, samples in times.items()}


def plain(weight: Tensor, x: Tensor, z: Tensor, law: TimingLaw) -> Tensor:
    """The loop one writes first, in place: traces, two outer products, bounds."""
    weight, r, o = weight.clone(), torch.zeros_like(x[0]), torch.zeros_like(z[0])
    (keep_pre,), (keep_post,) = law.pre_decay(), law.post_decay()
    for before, after in zip(x.unbind(0), z.unbind(0), strict=True):
        r, o = r * keep_pre, o * keep_post
        weight.addmm_(after.t(), r, alpha=law.a2_plus)
        weight.addmm_(o.t(), before, alpha=-law.a2_minus)
        if law.bounded:
            weight.clamp_(law.w_min, law.w_max)
        r, o = r + before, o + after
    return weight


def post_pre(weight: Tensor, x: Tensor, z: Tensor, law: TimingLaw) -> Tensor:
    """As BindsNET's PostPre does it: batched products of [B, N, 1] and [B, 1, N], summed over the batch."""
    weight, r, o = weight.t().contiguous(), torch.zeros_like(x[0]), torch.zeros_like(z[0])
    (keep_pre,), (keep_post,) = law.pre_decay(), law.post_decay()
    for before, after in zip(x.unbind(0), z.unbind(0), strict=True):
        r, o = r * keep_pre, o * keep_post
        weight -= torch.bmm(before.unsqueeze(2), (o * law.a2_minus).unsqueeze(1)).sum(0)
        weight += torch.bmm(r.unsqueeze(2), (after * law.a2_plus).unsqueeze(1)).sum(0)
        if law.bounded:
            weight.clamp_(law.w_min, law.w_max)
        r, o = r + before, o + after
    return weight.t()


def masked(weight: Tensor, x: Tensor, z: Tensor, law: TimingLaw, connections: CSR) -> Tensor:
    """The same of single synapses: gathers in place of outer products."""
    weight, r, o = weight.clone(), torch.zeros_like(x[0]), torch.zeros_like(z[0])
    (keep_pre,), (keep_post,) = law.pre_decay(), law.post_decay()
    i, j = connections.indices.long(), connections.rows()
    for before, after in zip(x.unbind(0), z.unbind(0), strict=True):
        r, o = r * keep_pre, o * keep_post
        weight += law.a2_plus * (after[:, i] * r[:, j]).sum(0) - law.a2_minus * (o[:, i] * before[:, j]).sum(0)
        if law.bounded:
            weight.clamp_(law.w_min, law.w_max)
        r, o = r + before, o + after
    return weight


def snntorch_loop(weight: Tensor, x: Tensor, z: Tensor, law: TimingLaw) -> Tensor:
    """snnTorch's single step over the sequence."""
    from snntorch.functional.stdp_learner import stdp_linear_single_step

    layer = nn.Linear(PRE, POST, bias=False)
    layer.weight.data = weight.clone()
    r, o, tau = None, None, law.tau_plus / law.dt

    def down(w: Tensor) -> float:
        return law.a2_minus

    def up(w: Tensor) -> float:
        return law.a2_plus

    for before, after in zip(x.unbind(0), z.unbind(0), strict=True):
        r, o, delta = stdp_linear_single_step(layer, before, after, r, o, tau, tau, down, up)
        layer.weight.data += delta
        if law.bounded:
            layer.weight.data.clamp_(law.w_min, law.w_max)
    return layer.weight.data


def case(activity: float, repeats: int) -> dict[str, dict[str, float]]:
    """All jobs at one activity."""
    g = torch.Generator().manual_seed(0)
    x, z = ((torch.rand(TIME, 1, n, generator=g) < activity).float() for n in (PRE, POST))
    weight = 0.4 + 0.2 * torch.rand(POST, PRE, generator=g)
    kept = torch.rand(PRE, POST, generator=g) < SHARE
    connections, some = CSR.of(torch.where(kept, weight.t(), 0.0))
    reward = torch.zeros(TIME, 1)
    reward[-1] = 1
    found = {}
    for name, law in (("free", FREE), ("clipped", CLIPPED)):
        expected = plain(weight, x, z, law)
        assert torch.allclose(stdp(weight, x, z, law)[0], expected, atol=1e-5)
        assert torch.allclose(post_pre(weight, x, z, law), expected, atol=1e-5)
        found[f"dense {name}"] = interleaved(
            {
                "neuro": lambda law=law: stdp(weight, x, z, law),  # type: ignore[misc]
                "torch": lambda law=law: plain(weight, x, z, law),  # type: ignore[misc]
                "BindsNET style": lambda law=law: post_pre(weight, x, z, law),  # type: ignore[misc]
                "snnTorch": lambda law=law: snntorch_loop(weight, x, z, law),  # type: ignore[misc]
            },
            repeats,
        )
        listed = masked(some, x, z, law, connections)
        assert torch.allclose(stdp(some, x, z, law, connections=connections)[0], listed, atol=1e-5)
        found[f"sparse {name}"] = interleaved(
            {
                "neuro": lambda law=law: stdp(some, x, z, law, connections=connections),  # type: ignore[misc]
                "torch": lambda law=law: masked(some, x, z, law, connections),  # type: ignore[misc]
                "torch, dense": lambda law=law: plain(weight, x, z, law),  # type: ignore[misc]
            },
            repeats,
        )
    found["others"] = interleaved(
        {
            "triplet, dense": lambda: stdp(weight, x, z, TimingLaw.visual_cortex()),
            "reward at the end, dense": lambda: modulated_stdp(weight, x, z, reward, FREE, tau=0.5),
        },
        repeats,
    )
    return found


def main() -> None:
    """Print the table and keep it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")  # what snnTorch imports
    results: dict[str, object] = {"cores": os.cpu_count(), **vars(arguments), "torch": torch.__version__}
    with torch.no_grad():
        for activity in ACTIVITIES:
            found = case(activity, arguments.repeats)
            results[f"activity {activity}, ms"] = found
            for name, times in found.items():
                ours = times.get("neuro")
                cells = (
                    f"{k} {v:.2f}" + (f" ({v / ours:.1f}x)" if ours and k != "neuro" else "") for k, v in times.items()
                )
                print(f"{activity:4.0%} {name:<15} {'; '.join(cells)}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
