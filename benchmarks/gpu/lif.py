"""A layer of LIF neurons on a GPU: forward + backward against the memory bus and against peers.

Interleaved rounds, medians, CUDA events. The bytes are those the layer must move: forward reads
the input and writes spikes and membrane, backward reads the gradient and the membrane and
writes the gradient of the input. Run: ``python benchmarks/gpu/lif.py [--output FILE]``.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import neuro

T, B, N = 100, 256, 4096


def milliseconds(call: Callable[[], object]) -> float:
    """One call's time on the GPU."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end))


def forward_backward(layer: Callable[[Tensor], Tensor], x: Tensor, cotangent: Tensor) -> Callable[[], None]:
    """The call to time."""

    def call() -> None:
        x.grad = None
        layer(x).backward(cotangent)

    return call


def loop(x: Tensor) -> Tensor:
    """The layer as a plain torch loop that unbinds its input."""
    v = torch.zeros_like(x[0])
    out = []
    for current in x.unbind(0):
        v = v + 0.05 * (current - v)
        z = Spike.apply(v - 1.0)  # type: ignore[no-untyped-call]
        v = v * (1 - z.detach())
        out.append(z)
    return torch.stack(out)


class Spike(torch.autograd.Function):
    """Heaviside forward, arctangent surrogate backward."""

    @staticmethod
    def forward(ctx: object, drive: Tensor) -> Tensor:
        ctx.save_for_backward(drive)  # type: ignore[attr-defined]
        return (drive > 0).to(drive.dtype)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        (drive,) = ctx.saved_tensors  # type: ignore[attr-defined]
        scaled: Tensor = torch.pi * drive
        return grad / (1 + scaled**2)


def layers() -> dict[str, Callable[[Tensor], Tensor]]:
    """What can be run here, by name."""
    cells: dict[str, neuro.Cell] = {
        "neuro": neuro.LIF(N, learn=()).cuda(),
        "neuro, tau learned": neuro.LIF(N).cuda(),
        "neuro CuBaLIF": neuro.CuBaLIF(N, learn=()).cuda(),
    }

    def ours(cell: neuro.Cell) -> Callable[[Tensor], Tensor]:
        return lambda x: cell(x)[0]

    made: dict[str, Callable[[Tensor], Tensor]] = {name: ours(cell) for name, cell in cells.items()}
    made["torch loop"] = loop
    made["torch loop, compiled"] = torch.compile(loop)
    try:
        import snntorch

        leaky = snntorch.Leaky(beta=0.95)

        def snn(x: Tensor) -> Tensor:
            mem = torch.zeros_like(x[0])
            out = []
            for current in x.unbind(0):
                z, mem = leaky(current, mem)
                out.append(z)
            return torch.stack(out)

        made["snnTorch Leaky"] = snn
    except ImportError:
        print("snnTorch is not installed")
    try:
        from spikingjelly.activation_based import functional, neuron

        for backend in ("triton", "torch"):
            node = neuron.LIFNode(tau=20.0, detach_reset=True, step_mode="m", backend=backend).cuda()

            def jelly(x: Tensor, node: object = node) -> Tensor:
                functional.reset_net(node)
                return node(x)  # type: ignore[operator, no-any-return]

            made[f"SpikingJelly {backend}"] = jelly
    except (ImportError, NotImplementedError, TypeError, ValueError) as error:
        print("SpikingJelly:", error)
    return made


def main() -> None:
    """Time everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("this benchmark needs a CUDA device; torch sees none")
    x = (torch.randn(T, B, N, device="cuda") * 3 + 0.5).requires_grad_()
    cotangent = torch.randn(T, B, N, device="cuda")
    target = torch.empty_like(cotangent)
    calls: dict[str, Callable[[], object]] = {"copy": lambda: target.copy_(cotangent)}
    for name, layer in layers().items():
        calls[name] = forward_backward(layer, x, cotangent)
    times: dict[str, list[float]] = {}
    for name, call in list(calls.items()):
        try:
            for _ in range(2):
                call()
        except (RuntimeError, TypeError, NotImplementedError) as error:  # a peer that does not run is reported
            print(f"{name}: {type(error).__name__}: {str(error).splitlines()[0]}")
            del calls[name]
    for _ in range(options.rounds):
        for name, call in calls.items():
            times.setdefault(name, []).append(milliseconds(call))
    size = x.numel() * 4
    median = {n: statistics.median(t) for n, t in times.items()}
    bandwidth = 2 * size / median["copy"] / 1e6
    rows = {
        n: {"ms": m, "GB/s": 6 * size / m / 1e6, "of copy": 6 * size / m / 1e6 / bandwidth} for n, m in median.items()
    }
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, T={T} B={B} N={N} float32, copy {bandwidth:.0f} GB/s"
    )
    for name, row in rows.items():
        ratio = row["ms"] / median["neuro"]
        print(f"{name:24s} {row['ms']:9.3f} ms {ratio:9.2f} x ours {row['of copy']:8.1%} of copy bandwidth")
    if options.output:
        found = {
            "device": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "shape": [T, B, N],
            "copy GB/s": bandwidth,
            "rows": rows,
        }
        options.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
