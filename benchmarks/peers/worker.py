"""Time one job in one library: run by ``benchmarks/peers/run.py`` in that library's own environment.

Jobs: ``layer``, a population of LIF neurons given its input current; ``network``, one training
step of 700-256-256-20 on sparse events; ``recurrent``, one of 700-512-20 whose hidden layer feeds
back into itself. Prints one JSON line: medians in milliseconds, and what backward keeps in MB.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

JOBS: dict[str, Any] = json.loads((Path(__file__).parent / "jobs.json").read_text())
TAU_STEPS: float = JOBS["tau_steps"]  # a decay of 0.95 a step, in every library's own terms

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


def loop(step: Callable[[Any, Any], tuple[Any, Any]], x: Any, feedback: Any = None) -> Any:
    """A cell that takes one step at a time, over a sequence; ``feedback`` brings its spikes back to it."""
    import torch

    state, out, z = None, [], torch.zeros_like(x[0])
    for current in x.unbind(0):
        given = current if feedback is None else torch.addmm(current, z, feedback.weight.t())
        z, state = step(given, state)
        out.append(z)
    return torch.stack(out)


def neuro_layer(size: int, feedback: Any) -> Any:
    """Ours."""
    import neuro

    cell = neuro.LIF(size, tau=TAU_STEPS * 1e-3, r=TAU_STEPS, learn=())
    if feedback is None:
        return lambda x: cell(x)[0]
    recurrent = neuro.Recurrent(cell)
    recurrent.weight = feedback.weight
    return lambda x: recurrent(x)[0]


def torch_layer(size: int, feedback: Any) -> Any:
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

    return lambda x: loop(step, x, feedback)


def compiled_layer(size: int, feedback: Any) -> Any:
    """The plain loop, compiled whole: the loop over time is unrolled, which takes a minute."""
    import torch

    return torch.compile(torch_layer(size, feedback))


def snntorch_layer(size: int, feedback: Any) -> Any:
    """Leaky, the library's LIF."""
    import snntorch
    import torch

    leaky = snntorch.Leaky(beta=1 - 1 / TAU_STEPS)
    return lambda x: loop(lambda c, m: leaky(c, torch.zeros_like(c) if m is None else m), x, feedback)


def norse_layer(size: int, feedback: Any) -> Any:
    """LIFBoxCell, the library's fastest LIF, stepped by hand over the unbound input."""
    import torch
    from norse.torch import LIFBoxCell, LIFBoxParameters

    cell = LIFBoxCell(p=LIFBoxParameters(tau_mem_inv=torch.tensor(1e3 / TAU_STEPS)))
    return lambda x: loop(lambda c, s: cell(c * TAU_STEPS, s), x, feedback)


def spikingjelly_layer(size: int, feedback: Any) -> Any:
    """LIFNode, over the whole sequence where nothing feeds back."""
    from spikingjelly.activation_based import functional, neuron

    mode = "m" if feedback is None else "s"
    node = neuron.LIFNode(tau=TAU_STEPS, decay_input=False, detach_reset=True, step_mode=mode)

    def run(x: Any) -> Any:
        functional.reset_net(node)
        return node(x) if feedback is None else loop(lambda c, s: (node(c), s), x, feedback)

    return run


def sinabs_layer(size: int, feedback: Any) -> Any:
    """LIF or LIFRecurrent, batch first."""
    import sinabs.layers as sl

    options = {"tau_mem": TAU_STEPS, "norm_input": False}
    layer = sl.LIF(**options) if feedback is None else sl.LIFRecurrent(rec_connect=feedback, **options)

    def run(x: Any) -> Any:
        layer.reset_states()
        return layer(x.transpose(0, 1)).transpose(0, 1)

    return run


TORCH_LAYERS: dict[str, Callable[[int, Any], Any]] = {
    "neuro": neuro_layer,
    "torch loop": torch_layer,
    "torch.compile": compiled_layer,
    "snnTorch": snntorch_layer,
    "Norse": norse_layer,
    "SpikingJelly": spikingjelly_layer,
    "Sinabs": sinabs_layer,
}


def time_layer(name: str, rng: np.random.Generator, repeats: int) -> dict[str, float]:
    """A population given its input current, which makes it fire in about 5 % of steps."""
    import torch

    shape = JOBS["layer"]["shape"]
    layer = TORCH_LAYERS[name](shape[2], None)
    x = torch.from_numpy((0.1 * rng.standard_normal(shape) + 0.07).astype(np.float32)).requires_grad_()
    cotangent = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    return time_calls(lambda: layer(x), lambda y: y.backward(cotangent), [x], repeats)


def time_network(name: str, job: dict[str, Any], rng: np.random.Generator, repeats: int) -> dict[str, float]:
    """One training step, with Adam, on sparse events; weights are scaled so that hidden layers fire in about 2 %."""
    import torch

    (steps, batch), sizes = job["shape"], job["sizes"]
    events = torch.from_numpy((rng.random((steps, batch, sizes[0])) < JOBS["rate"]).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, sizes[-1], batch))
    net, parameters = torch_network(name, job)
    optimizer = torch.optim.Adam(parameters, lr=1e-4)

    def backward(y: Any) -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(y.sum(0), labels).backward()
        optimizer.step()

    return time_calls(lambda: net(events), backward, [events, *parameters], repeats)


def torch_network(name: str, job: dict[str, Any]) -> tuple[Any, list[Any]]:
    """Dense layers with the library's LIF, the first of them recurrent where the job says so."""
    import torch

    sizes = job["sizes"]
    made: Any = torch.nn.Linear
    if name == "neuro":
        import neuro

        made = neuro.Linear
    linears = [made(a, b) for a, b in pairwise(sizes)]
    feedback = made(sizes[1], sizes[1], bias=False) if job["recurrent"] else None
    with torch.no_grad():
        for linear, gain in zip(linears, job["gains"], strict=True):
            linear.weight.mul_(gain)
        if feedback is not None:
            feedback.weight.normal_(std=JOBS["feedback"])
    cells = [TORCH_LAYERS[name](size, feedback if k == 0 else None) for k, size in enumerate(sizes[1:])]

    def net(x: Any) -> Any:
        for linear, cell in zip(linears, cells, strict=True):
            x = cell(linear(x))
        return x

    return net, [p for linear in (*linears, *([feedback] if feedback is not None else [])) for p in linear.parameters()]


def time_calls(
    forward: Callable[[], Any], backward: Callable[[Any], None], given: list[Any], repeats: int
) -> dict[str, float]:
    """Medians of the forward pass alone and of forward and backward together; what is kept between them."""
    import torch

    def step() -> None:
        for tensor in given:
            tensor.grad = None
        backward(forward())

    with torch.no_grad():
        alone = median_ms(forward, repeats)
        rate = float((forward() > 0).float().mean())
    times = {"forward": alone, "step": median_ms(step, repeats)}
    return times | {"output rate": rate, "saved MB": saved_megabytes(forward, given)}


def saved_megabytes(forward: Callable[[], Any], given: list[Any]) -> float:
    """What autograd keeps from the forward to the backward pass, but for ``given`` (input and weights)."""
    import torch

    own = {t.untyped_storage().data_ptr() for t in given}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no other can take its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    megabytes: float = sum(t.untyped_storage().nbytes() for t in kept.values()) / 1e6
    return megabytes


def main() -> None:
    """``worker.py LIBRARY JOB THREADS REPEATS``."""
    import torch

    name, job, threads, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    found = time_layer(name, rng, repeats) if job == "layer" else time_network(name, JOBS[job], rng, repeats)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
