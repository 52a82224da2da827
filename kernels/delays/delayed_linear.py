"""All-to-all synapses with a learnable delay each, without a kernel ``[O, I, D]`` in memory.

``y[t, b, o] = sum_i sum_d w[o, i] k(d; p[o, i], sigma) x[t - d, b, i]``, d = 0..D-1, with the
Gaussian taps k of :mod:`neuro.kernels.delays.taps`. With G the gradient of y and
``C_d[o, i] = sum_{t, b} G[t, b, o] x[t - d, b, i]``,

``dL/dw = sum_d k_d C_d``, ``dL/dp = w / sigma^2 sum_d k_d (d - m) C_d``,
``dL/dx[t, b, i] = sum_d sum_o w[o, i] k_d G[t + d, b, o]``.

Dense, this is one matrix product for each of the D steps; the weights of one step are all that
exists at a time. Event by event, the taps of a channel's synapses are made when its events are
added (:mod:`neuro.kernels.delays.delayed_numba`). The gradient to x, which a silent neuron has
too, is always dense.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels.delays.delayed_dense import dense_product
from neuro.kernels.delays.delayed_event import event_product
from neuro.kernels.delays.taps import gaussian_taps

__all__ = ["MODES", "by_events", "delayed_linear", "delayed_reference", "extend"]

MODES = ("auto", "event", "dense")
_DENSITY = 0.35  # share of non-zero inputs up to which events take less time (benchmarks/delays.py)


def delayed_reference(x: Tensor, weight: Tensor, delay: Tensor, sigma: float, taps: int) -> Tensor:
    """The definition, as a convolution over time: ``x [T + D - 1, B, I]`` -> ``[T, B, O]``; delays in steps."""
    kernel = gaussian_taps(delay, sigma, taps) * weight.unsqueeze(-1)
    return torch.nn.functional.conv1d(x.permute(1, 2, 0), kernel.flip(-1)).permute(2, 0, 1)


def delayed_linear(
    x: Tensor,
    weight: Tensor,
    delay: Tensor,
    sigma: float,
    *,
    taps: int,
    past: Tensor | None = None,
    mode: str = "auto",
) -> tuple[Tensor, Tensor]:
    """``y[t, b, o] = sum_i sum_d w[o, i] k(d; p[o, i], sigma) x[t - d, b, i]``, differentiable in all but sigma.

    Args:
        x: spikes or graded events ``[T, B, I]``, float32 or float64.
        weight: ``[O, I]``.
        delay: ``[O, I]``, p in time steps; meant to lie in 0..D-1 (taps end there).
        sigma: width of the taps in time steps, above 0.
        taps: D, the number of steps an input is felt, from its own on.
        past: the D - 1 inputs before, ``[D - 1, B, I]``; None is silence.
        mode: ``"event"``, ``"dense"``, or ``"auto"``: by the measured share of non-zero inputs on the
            CPU, dense elsewhere and in compiled code (which must not wait for values).

    Returns:
        ``[T, B, O]`` and the last D - 1 inputs, the ``past`` of the next call.

    Raises:
        InputError: shapes, dtypes or devices that do not fit; delays that are not finite; sigma not above 0.

    Source: Hammouamri et al., ICLR 2024 (see :mod:`neuro.kernels.delays.taps`).

    >>> x = torch.tensor([1.0, 0.0, 0.0, 0.0]).view(4, 1, 1)
    >>> y, past = delayed_linear(x, torch.tensor([[2.0]]), torch.tensor([[1.0]]), 0.1, taps=3)
    >>> [round(v, 3) for v in y.flatten().tolist()], past.flatten().tolist()
    ([0.0, 2.0, 0.0, 0.0], [0.0, 0.0])
    """
    if mode not in MODES:
        raise unknown_name("mode", mode, MODES)
    _check(x, weight, delay, sigma, taps)
    inputs, after = extend(x, past, taps - 1)
    made = event_product if by_events(inputs, mode, _DENSITY) else dense_product
    return made(inputs, weight, delay, float(sigma), taps), after


def extend(x: Tensor, past: Tensor | None, steps: int) -> tuple[Tensor, Tensor]:
    """The ``steps`` inputs before and ``x [T, B, I]`` in one, ``[steps + T, B, I]``, and the last ``steps`` of it.

    Raises:
        InputError: ``past`` is of another shape, dtype or device.
    """
    shape = (steps, *x.shape[1:])
    if past is None:
        past = x.new_zeros(shape)
    if past.shape != shape or past.dtype != x.dtype or past.device != x.device:
        raise InputError(
            f"past must be {list(shape)} {x.dtype} on {x.device}, got {list(past.shape)} {past.dtype} on {past.device}"
        )
    inputs = torch.cat([past, x])
    return inputs, inputs[x.shape[0] :].clone()


def by_events(x: Tensor, mode: str, density: float) -> bool:
    """Whether ``mode`` means events for ``x`` (any shape); ``"auto"`` does up to a share ``density`` of non-zeros."""
    if mode != "auto" or torch.compiler.is_compiling() or x.device.type != "cpu":
        return mode == "event"
    return int(torch.count_nonzero(x.detach())) <= density * x.numel()


def _check(x: Tensor, weight: Tensor, delay: Tensor, sigma: float, taps: int) -> None:
    if isinstance(taps, bool) or not isinstance(taps, int) or taps < 1:
        raise InputError(f"taps must be a whole number of steps, at least 1, got {taps!r}")
    if not (math.isfinite(sigma) and sigma > 0):
        raise InputError(f"sigma must be a finite number of steps above 0, got {sigma}")
    if weight.dim() != 2 or x.dim() != 3 or x.shape[2] != weight.shape[1]:
        raise InputError(f"x must be [T, B, I] and weight [O, I], got {list(x.shape)} and {list(weight.shape)}")
    if delay.shape != weight.shape:
        raise InputError(f"delay must be {list(weight.shape)} like weight, got {list(delay.shape)}")
    if x.dtype not in (torch.float32, torch.float64) or {x.dtype} != {weight.dtype, delay.dtype}:
        raise InputError(
            f"x, weight and delay must all be float32 or all float64, got {x.dtype}, {weight.dtype}, {delay.dtype}"
        )
    devices = {str(a.device) for a in (x, weight, delay)}
    if len(devices) > 1:
        raise InputError(f"x, weight and delay must be on one device, got {', '.join(sorted(devices))}")
    if not torch.compiler.is_compiling() and not bool(torch.isfinite(delay.detach()).all()):
        raise InputError("delay must be finite, got NaN or inf")
