"""Pictures shown one after the other to neurons that compete and learn by spike timing, in one fused loop."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels.engines.counter_random import counter_uniform
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.plasticity.competition_law import CompetitionLaw

__all__ = ["Competition", "compete", "competition_reference"]

_BACKENDS = ("auto", "reference", "numba")
_BLOCK = 16  # pictures of a task where nothing is learned


class Competition(NamedTuple):
    """What pictures have left: ``weight [I, N]``, ``theta [N]``, spikes ``counts [S, N]`` and ``attempts [S]`` (int64)."""

    weight: Tensor
    theta: Tensor
    counts: Tensor
    attempts: Tensor


def competition_reference(
    weight: Tensor, theta: Tensor, pictures: Tensor, law: CompetitionLaw, *, seed: int, first: int, learn: bool
) -> Competition:
    """The definition, step by step."""
    result = _room(weight, theta, pictures)
    steps, pixels = torch.arange(law.steps).unsqueeze(1), torch.arange(pictures.shape[1])
    for s, picture in enumerate(pictures):
        for attempt in range(law.attempts):
            chance = picture.double() * (law.rate * law.dt + attempt * (law.rate_step * law.dt))
            place = (torch.tensor(int(learn)), torch.tensor(first + s), pixels, steps + attempt * law.steps)
            raster = counter_uniform(seed, *place) < chance
            result.attempts[s] = attempt + 1
            result.counts[s] = _show(result.weight, result.theta, raster, law, learn)
            if result.counts[s].sum() >= law.least:
                break
    return result


def _show(weight: Tensor, theta: Tensor, raster: Tensor, law: CompetitionLaw, learn: bool) -> Tensor:
    """Spikes ``[N]`` of one showing of input spikes ``raster [T, I]``; weight and theta learn in place."""
    numbers = weight.new_tensor(law.numbers()).tolist()
    a, keep_g, keep_h, rest, reset, threshold, above, below, inhibition, step, keep_theta, *learning = numbers
    inputs, neurons = weight.shape
    v, g, h, fired = (weight.new_full((neurons,), start) for start in (rest, 0.0, 0.0, 0.0))
    free, last_out, last_in = torch.zeros(neurons), torch.full((neurons,), -1), torch.full((inputs,), -1)
    counts = torch.zeros(neurons, dtype=torch.int64)
    for t, came in enumerate(raster):
        for i in came.nonzero()[:, 0]:
            g = g + weight[i]
        last_in[came] = t
        h = h * keep_h + inhibition * (fired.sum() - fired)
        v = (v + a * ((rest + g * above) + h * below)) / (1 + a * ((1 + g) + h))
        v = torch.where(t < free, reset, v)
        hot = v > threshold + theta
        fired, g, counts = hot.to(v.dtype), g * keep_g, counts + hot
        if learn:
            _learn(weight, (came, hot), (last_in, last_out), t, law)
            theta += step * fired
        v[hot], last_out[hot] = reset, t
        free[hot] = t + 1 + round(law.refractory / law.dt)
    if learn:
        awake = last_out >= 0
        sums = torch.zeros_like(theta)
        for row in weight:
            sums += row
        weight *= torch.where(awake & (sums > 0), torch.full_like(sums, learning[3]) / sums, 1)
        theta *= keep_theta
    return counts


def _learn(
    weight: Tensor, spikes: tuple[Tensor, Tensor], last: tuple[Tensor, Tensor], t: int, law: CompetitionLaw
) -> None:
    """Inputs' spikes first, then the neurons'; ``last`` step of each, -1 for none: this one's of inputs, earlier of neurons."""
    a_plus, a_minus, most = weight.new_tensor([law.a_plus, law.a_minus, law.w_max]).tolist()
    r, o1, o2 = weight.new_tensor(law.traces())
    (came, hot), (last_in, last_out) = spikes, last
    down = torch.where(last_out >= 0, a_minus * o1[t - last_out.clamp_min(0)], 0)
    weight[came] = torch.where(last_out >= 0, (weight[came] - down).clamp_min(0), weight[came])
    again, seen = hot & (last_out >= 0), last_in >= 0
    up = r[t - last_in.clamp_min(0)].unsqueeze(1) * (a_plus * o2[t - last_out.clamp_min(0)])
    weight[:] = torch.where(again & seen.unsqueeze(1), (weight + up).clamp_max(most), weight)


def _room(weight: Tensor, theta: Tensor, pictures: Tensor) -> Competition:
    """A result to be filled in, weight and theta those given."""
    held, raised = (part.detach().clone(memory_format=torch.contiguous_format) for part in (weight, theta))
    counts = torch.zeros(len(pictures), theta.shape[0], dtype=torch.int64)
    return Competition(held, raised, counts, torch.zeros(len(pictures), dtype=torch.int64))


def _fused(
    weight: Tensor, theta: Tensor, pictures: Tensor, law: CompetitionLaw, *, seed: int, first: int, learn: bool
) -> Competition:
    from neuro.kernels.plasticity.competition_numba import compete_block

    result = _room(weight, theta, pictures)
    held: Any = (result.weight.numpy(), result.theta.numpy())
    shown, counts, attempts = pictures.detach().contiguous().numpy(), result.counts.numpy(), result.attempts.numpy()
    rates = (law.rate * law.dt, law.rate_step * law.dt)
    constants: Any = (learn, *(weight.new_tensor(values).numpy() for values in (law.numbers(), law.traces())))
    rest: Any = (round(law.refractory / law.dt), law.least, law.attempts)

    def task(a: int, b: int) -> None:
        call: Any = (*held, shown[a:b], rates, seed, first + a, *constants, *rest, counts[a:b], attempts[a:b])
        compete_block(*call)

    size = max(1, len(shown)) if learn else _BLOCK
    pieces = [(a, min(len(shown), a + size)) for a in range(0, len(shown), size)]
    run_blocks([lambda piece=piece: task(*piece) for piece in pieces])  # type: ignore[misc]
    return result


def compete(
    weight: Tensor,
    theta: Tensor,
    pictures: Tensor,
    law: CompetitionLaw,
    *,
    seed: int = 0,
    first: int = 0,
    learn: bool = True,
    backend: str = "auto",
) -> Competition:
    """Show pictures one after the other, as Poisson spikes, to neurons that learn from them by :class:`CompetitionLaw`.

    What is drawn for a picture is a function of ``seed``, ``learn`` and its number, so that neither the pieces of a
    sequence nor the number of threads changes a bit. On the CPU only: pictures follow one another, and a step
    is a few hundred neurons.

    Args:
        weight: ``[I, N]``, a row for each input, 0 or more; the sum of each column should be ``law.total``.
        theta: ``[N]``, what has been added to the thresholds, in volts.
        pictures: ``[S, I]``, 0 (no spikes) to 1 (``law.rate``), without unit.
        law: neurons, input and plasticity.
        seed: of the input spikes, a whole number of 64 bits.
        first: number of the first picture.
        learn: whether weights and theta change; if not, pictures are independent of one another.
        backend: "auto" and "numba" (fused loops), "reference" (plain torch, the same to the bit).

    Returns:
        Weight and theta after the last picture, and what each picture made; nothing given is written to.

    Raises:
        InputError: shapes, dtypes or devices that do not fit; a value out of range.

    >>> weight, theta = torch.full((4, 2), 19.5), torch.zeros(2)
    >>> law = CompetitionLaw(duration=0.1, w_max=40.0)
    >>> compete(weight, theta, torch.ones(1, 4), law, seed=1).counts.sum().item() > 0
    True
    """
    _check(weight, theta, pictures, (seed, first), backend)
    run = competition_reference if backend == "reference" else _fused
    with torch.no_grad():
        return run(weight, theta, pictures, law, seed=seed, first=first, learn=learn)


def _check(weight: Tensor, theta: Tensor, pictures: Tensor, numbers: tuple[int, int], backend: str) -> None:
    if backend not in _BACKENDS:
        raise unknown_name("backend", backend, _BACKENDS)
    fits = weight.dim() == 2 and pictures.dim() == 2 and pictures.shape[1] == weight.shape[0]
    if not fits or theta.shape != weight.shape[1:]:
        seen = f"{list(weight.shape)}, {list(theta.shape)} and {list(pictures.shape)}"
        raise InputError(f"weight, theta and pictures must be [I, N], [N] and [S, I], got {seen}")
    given = {(part.dtype, part.device.type) for part in (weight, theta, pictures)}
    if given not in ({(torch.float32, "cpu")}, {(torch.float64, "cpu")}):
        kinds = ", ".join(f"{part.dtype} on {part.device}" for part in (weight, theta, pictures))
        raise InputError(f"weight, theta and pictures must be all float32 or all float64, on the CPU, got {kinds}")
    if not bool(((pictures >= 0) & (pictures <= 1)).all()):
        raise InputError("pictures must be from 0 to 1, got values outside of it or NaN")
    if not bool((weight >= 0).all() and torch.isfinite(weight).all() and torch.isfinite(theta).all()):
        raise InputError("weight must be 0 or more and finite, theta finite, got others")
    for name, value in zip(("seed", "first"), numbers, strict=True):
        if not -(2**63) <= value < 2**63:
            raise InputError(f"{name} must be a whole number that 64 bits hold, got {value}")
