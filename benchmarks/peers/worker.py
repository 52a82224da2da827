"""Time one job in one library: run by ``benchmarks/peers/run.py`` in that library's own environment.

Jobs: ``layer``, a population of LIF neurons given its input current; ``network``, one training
step of 700-256-256-20 on sparse events. Prints one JSON line: medians in milliseconds.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

T, B, N = 100, 64, 512
SIZES = (700, 256, 256, 20)
RATE = 0.04
TAU_STEPS = 20.0  # a decay of 0.95 a step, in every library's own terms

Timed = Callable[[], Any]


def median_ms(call: Timed, repeats: int) -> float:
    """Median wall time of ``call`` after two calls that do not count."""
    call()
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def loop(step: Callable[[Any, Any], tuple[Any, Any]], x: Any) -> Any:
    """A cell that takes one step at a time, over a sequence."""
    import torch

    state, out = None, []
    for current in x.unbind(0):
        z, state = step(current, state)
        out.append(z)
    return torch.stack(out)


def neuro_layer(size: int) -> Any:
    """Ours."""
    import neuro

    cell = neuro.LIF(size, tau=TAU_STEPS * 1e-3, r=TAU_STEPS, learn=())
    return lambda x: cell(x)[0]


def torch_layer(size: int) -> Any:
    """A plain loop that unbinds its input."""
    import torch

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, drive: Any) -> Any:
            ctx.save_for_backward(drive)
            return (drive > 0).to(drive.dtype)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (drive,) = ctx.saved_tensors
            return grad / (1 + (torch.pi * drive) ** 2)

    def step(current: Any, v: Any) -> tuple[Any, Any]:
        v = current if v is None else v * (1 - 1 / TAU_STEPS) + current
        z: Any = Spike.apply(v - 1.0)  # type: ignore[no-untyped-call]
        return z, v * (1 - z.detach())

    return lambda x: loop(step, x)


def snntorch_layer(size: int) -> Any:
    """Leaky, the library's LIF."""
    import snntorch
    import torch

    leaky = snntorch.Leaky(beta=1 - 1 / TAU_STEPS)
    return lambda x: loop(lambda c, m: leaky(c, torch.zeros_like(c) if m is None else m), x)


def norse_layer(size: int) -> Any:
    """LIFBoxCell, the library's fastest LIF, stepped by hand over the unbound input."""
    import torch
    from norse.torch import LIFBoxCell, LIFBoxParameters

    cell = LIFBoxCell(p=LIFBoxParameters(tau_mem_inv=torch.tensor(1e3 / TAU_STEPS)))
    return lambda x: loop(cell, x * TAU_STEPS)


def spikingjelly_layer(size: int) -> Any:
    """LIFNode over the whole sequence."""
    from spikingjelly.activation_based import functional, neuron

    node = neuron.LIFNode(tau=TAU_STEPS, decay_input=False, detach_reset=True, step_mode="m")

    def run(x: Any) -> Any:
        functional.reset_net(node)
        return node(x)

    return run


def sinabs_layer(size: int) -> Any:
    """LIF, batch first."""
    import sinabs.layers as sl

    layer = sl.LIF(tau_mem=TAU_STEPS, norm_input=False)

    def run(x: Any) -> Any:
        layer.reset_states()
        return layer(x.transpose(0, 1)).transpose(0, 1)

    return run


TORCH_LAYERS: dict[str, Callable[[int], Any]] = {
    "neuro": neuro_layer,
    "torch loop": torch_layer,
    "snnTorch": snntorch_layer,
    "Norse": norse_layer,
    "SpikingJelly": spikingjelly_layer,
    "Sinabs": sinabs_layer,
}


def currents(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Input current [T, B, N] that makes the layer fire in about 5 % of steps."""
    return (0.1 * rng.standard_normal((T, B, N)) + 0.07).astype(np.float32)


def time_torch(name: str, job: str, threads: int, repeats: int) -> dict[str, float]:
    """Forward, and forward with backward, of a torch library."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    if job == "layer":
        layer = TORCH_LAYERS[name](N)
        x = torch.from_numpy(currents(rng)).requires_grad_()
        cotangent = torch.from_numpy(rng.standard_normal((T, B, N)).astype(np.float32))
        return time_calls(lambda: layer(x), lambda y: y.backward(cotangent), x, repeats)
    events = torch.from_numpy((rng.random((T, B, SIZES[0])) < RATE).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, SIZES[-1], B))
    net, parameters = torch_network(name)
    optimizer = torch.optim.Adam(parameters, lr=1e-4)

    def backward(y: Any) -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(y.sum(0), labels).backward()
        optimizer.step()

    return time_calls(lambda: net(events), backward, None, repeats)


def torch_network(name: str) -> tuple[Any, list[Any]]:
    """Three dense layers with the library's LIF; weights scaled so that hidden layers fire in about 2 % of steps."""
    import torch

    if name == "neuro":
        import neuro

        linears: list[Any] = [neuro.Linear(a, b) for a, b in pairwise(SIZES)]
    else:
        linears = [torch.nn.Linear(a, b) for a, b in pairwise(SIZES)]
    cells = [TORCH_LAYERS[name](b) for b in SIZES[1:]]
    with torch.no_grad():
        for linear, gain in zip(linears, (1.5, 4.0, 4.0), strict=True):
            linear.weight.mul_(gain)

    def net(x: Any) -> Any:
        for linear, cell in zip(linears, cells, strict=True):
            x = cell(linear(x))
        return x

    return net, [p for linear in linears for p in linear.parameters()]


def time_calls(
    forward: Callable[[], Any], backward: Callable[[Any], None], leaf: Any, repeats: int
) -> dict[str, float]:
    """Medians of the forward pass alone and of forward and backward together."""
    import torch

    def step() -> None:
        if leaf is not None:
            leaf.grad = None
        backward(forward())

    with torch.no_grad():
        alone = median_ms(forward, repeats)
        rate = float((forward() > 0).float().mean())
    return {"forward": alone, "step": median_ms(step, repeats), "output rate": rate}


def time_spyx(job: str, repeats: int) -> dict[str, float]:
    """The JAX library, jitted."""
    import jax
    import jax.numpy as jnp
    import spyx.nn as snn
    from flax import nnx

    rng = np.random.default_rng(0)
    if job != "layer":
        raise NotImplementedError("spyx: the layer only")
    cell = snn.LIF((N,), beta=1 - 1 / TAU_STEPS, rngs=nnx.Rngs(0))
    graph, values = nnx.split(cell)

    def run(x: Any) -> Any:
        layer = nnx.merge(graph, values)
        return jax.lax.scan(lambda v, c: layer(c, v)[::-1], jnp.zeros((B, N)), x)[1]

    x = jnp.asarray(currents(rng))
    cotangent = jnp.asarray(rng.standard_normal((T, B, N)).astype(np.float32))
    forward = jax.jit(run)
    gradient = jax.jit(jax.grad(lambda x: (run(x) * cotangent).sum()))
    rate = float((forward(x) > 0).mean())
    alone = median_ms(lambda: forward(x).block_until_ready(), repeats)
    return {"forward": alone, "step": median_ms(lambda: gradient(x).block_until_ready(), repeats), "output rate": rate}


def main() -> None:
    """``worker.py LIBRARY JOB THREADS REPEATS``."""
    name, job, threads, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    found = time_spyx(job, repeats) if name == "spyx" else time_torch(name, job, threads, repeats)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
