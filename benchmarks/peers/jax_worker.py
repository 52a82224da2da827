"""Time one job in spyx (JAX), as ``worker.py`` does the others: run by ``benchmarks/peers/run.py``.

Each layer's product is taken over the whole sequence at once and its neurons are scanned, which
is how XLA runs such a network fastest; everything is jitted, the training step with its Adam.
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

import jax
import jax.numpy as jnp
import numpy as np
import optax
import spyx.nn as snn
from flax import nnx

JOBS: dict[str, Any] = json.loads((Path(__file__).parent / "jobs.json").read_text())
BETA = 1 - 1 / JOBS["tau_steps"]


def median_ms(call: Callable[[], Any], repeats: int) -> float:
    """Median wall time of ``call``, waited for, after two calls that do not count."""
    times = []
    for k in range(repeats + 2):
        start = time.perf_counter()
        jax.block_until_ready(call())
        if k >= 2:
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def neurons(kind: Any, size: int) -> Callable[..., Any]:
    """``(x [T, B, N], recurrent weight or None) -> spikes [T, B, N]`` of the library's own cell."""
    graph, values = nnx.split(kind((size,), beta=BETA, rngs=nnx.Rngs(0)))

    def run(x: Any, weight: Any = None) -> Any:
        cell = nnx.merge(graph, values)
        if weight is not None:
            cell.recurrent_w = nnx.Param(weight)
        return jax.lax.scan(lambda v, c: cell(c, v)[::-1], jnp.zeros(x.shape[1:]), x)[1]

    return run


def layer(job: dict[str, Any], repeats: int) -> dict[str, float]:
    """A population given its input current."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(0.1 * rng.standard_normal(job["shape"]) + 0.07, jnp.float32)
    cotangent = jnp.asarray(rng.standard_normal(job["shape"]), jnp.float32)
    run = neurons(snn.LIF, job["shape"][2])
    forward = jax.jit(run)
    gradient = jax.jit(jax.grad(lambda x: (run(x) * cotangent).sum()))
    times = {"forward": median_ms(lambda: forward(x), repeats), "step": median_ms(lambda: gradient(x), repeats)}
    return times | {"output rate": float((forward(x) > 0).mean())}


def network(job: dict[str, Any], repeats: int) -> dict[str, float]:
    """One training step of dense layers, the first hidden one recurrent where the job says so."""
    rng = np.random.default_rng(0)
    sizes, (steps, batch) = job["sizes"], job["shape"][:2]
    events = jnp.asarray((rng.random((steps, batch, sizes[0])) < JOBS["rate"]).astype(np.float32))
    labels = jnp.asarray(rng.integers(0, sizes[-1], batch))
    cells = [neurons(snn.RLIF if job["recurrent"] and k == 0 else snn.LIF, size) for k, size in enumerate(sizes[1:])]

    def weight(into: int, out: int, gain: float) -> Any:
        bound = gain / into**0.5
        return jnp.asarray(rng.uniform(-bound, bound, (into, out)).astype(np.float32))

    values = {"w": [weight(a, b, g) for (a, b), g in zip(pairwise(sizes), job["gains"], strict=True)]}
    values["b"] = [jnp.zeros(size) for size in sizes[1:]]
    if job["recurrent"]:
        values["r"] = jnp.asarray((rng.standard_normal((sizes[1],) * 2) * JOBS["feedback"]).astype(np.float32))

    def run(values: Any, x: Any) -> Any:
        for k, (w, b, cell) in enumerate(zip(values["w"], values["b"], cells, strict=True)):
            x = cell(x @ w + b, values["r"] if job["recurrent"] and k == 0 else None)
        return x

    def loss(values: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(run(values, events).sum(0), labels).mean()

    optimizer = optax.adam(1e-4)

    def update(values: Any, state: Any) -> Any:
        updates, state = optimizer.update(jax.grad(loss)(values), state)
        return optax.apply_updates(values, updates), state

    step, state = jax.jit(update), optimizer.init(values)
    forward = jax.jit(lambda: run(values, events))
    times = {"forward": median_ms(forward, repeats), "step": median_ms(lambda: step(values, state), repeats)}
    return times | {"output rate": float((forward() > 0).mean())}


def main() -> None:
    """``jax_worker.py JOB REPEATS``."""
    job, repeats = sys.argv[1], int(sys.argv[2])
    print(json.dumps((layer if job == "layer" else network)(JOBS[job], repeats)))


if __name__ == "__main__":
    main()
