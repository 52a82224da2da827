"""Liquid cells against plain torch loops, and against ncps where it is installed: medians of interleaved runs.

``python benchmarks/liquid.py`` prints a line for each size and writes ``benchmarks/results/liquid.json``. The loop
of the LTC is the usual one: dense ``[B, N, N]`` conductances under a mask, sensory sums made once per step. That of
the CfC has its hidden layer and its four heads as products of their own. All start from the same values.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro

RESULT = Path(__file__).parent / "results" / "liquid.json"
INPUTS = 16


def ltc_loop(cell: neuro.LTC) -> Callable[[Tensor], Tensor]:
    """``[T, B, I] -> [T, B, N]`` with dense tensors made from the values of ``cell``."""
    value = {name: p.detach() for name, p in cell.named_parameters()}

    def matrix(kind: str, name: str, pre: int) -> Tensor:
        made = torch.zeros(pre, cell.units)
        start, origin = cell.get_buffer(f"{kind}start"), cell.get_buffer(f"{kind}pre")
        post = torch.repeat_interleave(torch.arange(cell.units), start.diff())
        made[origin.long(), post] = value[kind + name]
        return made.requires_grad_()

    tables = [
        [matrix(k, n, pre) for n in ("mu", "sigma", "weight", "reversal")]
        for k, pre in (("", cell.units), ("sensory_", INPUTS))
    ]
    masks = [(table[1] != 0).float() for table in tables]
    own = [value[n].clone().requires_grad_() for n in ("capacitance", "leak", "v_leak")]

    def flows(u: Tensor, kind: int, w: Tensor) -> tuple[Tensor, Tensor]:
        mu, sigma, _, e = tables[kind]
        active = w * torch.sigmoid(sigma * (u.unsqueeze(2) - mu))
        return (active * e).sum(1), active.sum(1)

    def run(x: Tensor) -> Tensor:
        weights = [F.softplus(table[2]) * mask for table, mask in zip(tables, masks, strict=True)]
        c, leak, rest = F.softplus(own[0]) * cell.unfolds / cell.dt, F.softplus(own[1]), own[2]
        v, states = x.new_zeros(x.shape[1], cell.units), []
        for u in x.unbind(0):
            drive, load = flows(u, 1, weights[1])
            for _ in range(cell.unfolds):
                num, den = flows(v, 0, weights[0])
                v = (c * v + leak * rest + drive + num) / (c + leak + load + den)
            states.append(v)
        return torch.stack(states)

    return run


def cfc_loop(cell: neuro.CfC) -> Callable[[Tensor], Tensor]:
    """``[T, B, I] -> [T, B, N]`` step by step."""
    backbone = nn.Linear(INPUTS + cell.units, cell.hidden)
    heads = nn.ModuleList([nn.Linear(cell.hidden, cell.units) for _ in range(4)])
    with torch.no_grad():
        backbone.weight.copy_(torch.cat([cell.input_weight, cell.state_weight], 1))
        backbone.bias.copy_(cell.hidden_bias)
        for head, weight, bias in zip(heads, cell.head_weight.chunk(4), cell.head_bias.chunk(4), strict=True):
            head.get_parameter("weight").copy_(weight)
            head.get_parameter("bias").copy_(bias)

    def run(x: Tensor) -> Tensor:
        h, states = x.new_zeros(x.shape[1], cell.units), []
        for u in x.unbind(0):
            z = 1.7159 * torch.tanh(0.666 * backbone(torch.cat([u, h], 1)))
            f1, f2, a, b = (head(z) for head in heads)
            s = torch.sigmoid(a * cell.dt + b)
            h = torch.tanh(f1) * (1 - s) + s * torch.tanh(f2)
            states.append(h)
        return torch.stack(states)

    return run


def peers(kind: str, units: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """The cell of ncps, dense, where it is installed (its values are its own)."""
    if importlib.util.find_spec("ncps") is None:
        return {}
    ncps: Any = importlib.import_module("ncps.torch")
    cell = ncps.LTC(INPUTS, units, batch_first=False) if kind == "LTC" else ncps.CfC(INPUTS, units, batch_first=False)
    return {"ncps": lambda x: cell(x)[0]}


def contenders(kind: str, units: int) -> tuple[dict[str, Callable[[Tensor], Tensor]], float]:
    """What is timed, by name, and by how much the loop differs from neuro."""
    torch.manual_seed(0)
    cell: Any
    loop: Callable[[Tensor], Tensor]
    if kind == "CfC":
        cell = neuro.CfC(INPUTS, units)
        loop = cfc_loop(cell)
    else:
        cell = neuro.LTC(INPUTS, units if kind == "LTC" else neuro.AutoNCP(units, units // 8))
        loop = ltc_loop(cell)
    x = torch.randn(5, 2, INPUTS)
    with torch.no_grad():
        states = cell.trace(x)[2]["state"]
        gap = float((loop(x) - states).abs().max())
    return {"neuro": lambda x: cell(x)[0], "loop": loop, **peers("CfC" if kind == "CfC" else "LTC", units)}, gap


def once(run: Callable[[Tensor], Tensor], x: Tensor, backward: bool) -> float:
    """Seconds of one run over ``x [T, B, I]``."""
    start = time.perf_counter()
    with torch.set_grad_enabled(backward):
        y = run(x)
    if backward:
        y.sum().backward()
    return time.perf_counter() - start


def measure(kind: str, steps: int, batch: int, units: int, backward: bool, repeats: int) -> Mapping[str, Any]:
    """Median seconds of each, and its ratio to neuro's of the same turn."""
    runs, gap = contenders(kind, units)
    x = torch.randn(steps, batch, INPUTS).requires_grad_(backward)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):  # the first one warms up
        for name, run in runs.items():
            taken = once(run, x, backward)
            if turn:
                seconds[name].append(taken)
    ratios = {
        f"{name}_ratio": round(statistics.median(a / b for a, b in zip(values, seconds["neuro"], strict=True)), 2)
        for name, values in seconds.items()
        if name != "neuro"
    }
    medians = {f"{name}_s": round(statistics.median(values), 5) for name, values in seconds.items()}
    sizes = {"cell": kind, "T": steps, "B": batch, "N": units, "backward": backward}
    return {**sizes, **medians, **ratios, "largest_difference": gap}


def main() -> None:
    """Run the sizes of the comparison on one thread and write the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for kind in ("LTC", "LTC wired", "CfC"):
        for batch, units in ((32, 32), (64, 32), (32, 64), (32, 128)):
            for backward in (False, True):
                rows.append(measure(kind, options.steps, batch, units, backward, options.repeats))
                print(json.dumps(rows[-1]), flush=True)
    options.output.parent.mkdir(exist_ok=True)
    found = {"torch": torch.__version__, "threads": 1, "inputs": INPUTS, "rows": rows}
    options.output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
