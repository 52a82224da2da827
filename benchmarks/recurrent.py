"""The recurrent layer against a plain torch loop: forward and backward, side by side.

``python benchmarks/recurrent.py`` prints a table and writes ``benchmarks/results/recurrent.json``.
The loop is an honest one: it unbinds its input, fuses current and product in ``addmm`` and
runs the same arithmetic. Both are timed in turn in one process, medians are quoted.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuro.kernels.compiler.reference import coefficients
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.scans.recurrent import recurrent_scan
from neuro.kernels.scans.scan import ScanSpec
from neuro.neurons import LIF

ALPHA = 0.05  # dt / tau
RESULT = Path(__file__).parent / "results" / "recurrent.json"


class Spike(torch.autograd.Function):
    """Heaviside step with the derivative of atan."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor) -> Tensor:
        """1 where ``drive`` (any shape) is above 0."""
        ctx.save_for_backward(drive)
        return (drive > 0).to(drive.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """``grad`` (same shape) times ``1 / (1 + (pi drive)^2)``."""
        (drive,) = ctx.saved_tensors
        u = drive * math.pi
        passed: Tensor = grad / (1 + u * u)
        return passed


def plain_loop(x: Tensor, weight: Tensor) -> Tensor:
    """``[T, B, N]`` from ``x [T, B, N]`` and ``weight [N, N]``, step by step."""
    v = z = torch.zeros_like(x[0])
    transposed = weight.t()
    outputs = []
    for now in x.unbind(0):
        v = v + ALPHA * (torch.addmm(now, z, transposed) - v)
        z = Spike.apply(v - 1)  # type: ignore[no-untyped-call]
        v = torch.where(z.detach() > 0, 0.0, v)
        outputs.append(z)
    return torch.stack(outputs)


def fused(x: Tensor, weight: Tensor) -> Tensor:
    """``[T, B, N]`` from ``x [T, B, N]`` and ``weight [N, N]``, by :func:`recurrent_scan`."""
    spec = ScanSpec(LIF.equations, "euler", "value", Surrogate("atan", 1 / math.pi, 1.0))
    values = {n: torch.tensor(p.default) for n, p in LIF.equations.parameters.items()}
    table = coefficients(spec.program, values, ALPHA * 20e-3)
    return recurrent_scan(spec, x, [torch.zeros_like(x[0])], table, weight)[0]


def training_step(layer: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor, cotangent: Tensor) -> Tensor:
    """Forward and backward of ``layer``; all ``[T, B, N]`` but ``weight [N, N]``; returns the output."""
    x.grad = weight.grad = None
    y = layer(x, weight)
    y.backward(cotangent)
    return y


def measure(threads: int, steps: int, batch: int, neurons: int, repeats: int, drive: float) -> dict[str, float]:
    """Median seconds of one training step of each, and how active the layer is."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x = (torch.randn(steps, batch, neurons) * drive).requires_grad_()
    # Column by column, as neuro stores it; the loop's products take either layout at the same speed.
    weight = (torch.randn(neurons, neurons) * 2 / math.sqrt(neurons)).t().requires_grad_()
    cotangent = torch.randn(steps, batch, neurons)
    seconds: dict[str, list[float]] = {"loop": [], "neuro": []}
    grads, rate = [], 0.0
    for repeat in range(repeats + 1):  # the first one warms up
        for name, layer in (("loop", plain_loop), ("neuro", fused)):
            start = time.perf_counter()
            y = training_step(layer, x, weight, cotangent)
            taken = time.perf_counter() - start
            rate = float(y.detach().mean())
            if repeat:
                seconds[name].append(taken)
            else:
                grads.append(y.detach())
    median = {f"{name}_s": statistics.median(values) for name, values in seconds.items()}
    pairs = [a / b for a, b in zip(seconds["loop"], seconds["neuro"], strict=True)]
    return {
        "threads": threads,
        "T": steps,
        "B": batch,
        "N": neurons,
        "rate": rate,
        **median,
        "ratio": statistics.median(pairs),
        "equal_outputs": float((grads[0] == grads[1]).float().mean()),
    }


def main() -> None:
    """Run the sizes of the comparison and write the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    rows: list[dict[str, float]] = []
    for threads in (1, 2):
        for steps, batch, neurons, drive in ((250, 64, 512, 6.5), (250, 64, 512, 8.0), (250, 1, 512, 6.5)):
            rows.append(measure(threads, steps, batch, neurons, options.repeats, drive))
            print(json.dumps(rows[-1]), flush=True)
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
