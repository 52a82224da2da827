"""Diagonal linear state spaces over a whole sequence: step by step, or as one convolution.

``s[t] = exp(e) s[t-1] + x[t]`` with ``N`` complex states per channel, ``y[t] = Re(sum_n w[n] s[n, t])``. The
convolution has the kernel ``K[k] = Re(sum_n w[n] exp(k e[n]))``; what a state carried in still does, and the state
left behind, are products with the same powers. Gu et al. 2022, "On the parameterization and initialization of
diagonal state space models" (S4D, NeurIPS); Gu et al. 2021 (LSSL, NeurIPS) for the two views of one map.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.route import Route
from neuro.kernels.scans.scan import ScanSpec, scan

__all__ = ["MODES", "state_space"]

MODES = ("auto", "recurrence", "convolution")
_SHORT = (
    64  # a compromise: by batch and gradients, either mode wins from 1 to some 1000 steps (benchmarks/state_space.py)
)
_NAMES = ("a_re", "a_im", "w_re", "w_im")
_EQUATIONS = Equations(
    "DiagonalStateSpace",
    """
    re' = a_re*re - a_im*im + x
    im' = a_im*re + a_re*im
    output w_re*re - w_im*im
    """,
    {name: Parameter(0.5, "1") for name in _NAMES},
)
_SPEC = ScanSpec(_EQUATIONS, "euler", "none", learned=frozenset(_NAMES))
_TEXT = _SPEC.to_text()


def state_space(
    x: Tensor,
    exponent: Tensor,
    weight: Tensor,
    state: Tensor | None = None,
    *,
    mode: str = "auto",
    route: Route | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Run a sequence.

    Args:
        x: input ``[T, B, H]``, float32 or float64.
        exponent: logarithm of the eigenvalues of one step ``[H, N]``, complex of the precision of ``x``.
        weight: what each state adds to the output ``[H, N]``, complex.
        state: complex ``[B, H, N]``; none, zero.
        mode: ``"recurrence"``, ``"convolution"`` (by FFT), or ``"auto"``: the recurrence for a few steps or a
            route that cuts, the convolution otherwise.
        route: edges that backward ignores; only the recurrence can cut.
        backend: engine of the recurrence, as for :func:`neuro.kernels.scans.scan.scan`.

    Returns:
        Output ``[T, B, H]`` and the state after the last step ``[B, H, N]``, complex.

    Raises:
        InputError: shapes, dtypes or devices that do not fit; unknown mode or backend; a route that cuts and the convolution.

    >>> e, w = torch.log(torch.tensor([[0.5 + 0j]])), torch.ones(1, 1, dtype=torch.complex64)
    >>> state_space(torch.ones(3, 1, 1), e, w, mode="recurrence")[0].flatten().tolist()
    [1.0, 1.5, 1.75]
    """
    if mode not in MODES:
        raise unknown_name("mode", mode, MODES)
    _check(x, exponent, weight, state)
    cuts = route is not None and route.cut_time
    if mode == "convolution" and cuts:
        raise InputError("a route that cuts time needs mode 'recurrence' (or 'auto'): a convolution has no edge to cut")
    stepwise = mode == "recurrence" or (mode == "auto" and (cuts or backend != "auto" or x.shape[0] <= _SHORT))
    if stepwise or x.numel() == 0:
        return _recurrence(x, exponent, weight, state, route, backend)
    return _convolution(x, exponent, weight, state)


def _recurrence(
    x: Tensor, exponent: Tensor, weight: Tensor, state: Tensor | None, route: Route | None, backend: str
) -> tuple[Tensor, Tensor]:
    (time, batch, channels), modes = x.shape, exponent.shape[1]
    pole = torch.exp(exponent)
    given = [p.flatten() for p in (pole.real, pole.imag, weight.real, weight.imag)]  # the order of _NAMES
    if state is None:
        first = [x.new_zeros((batch, channels * modes))] * 2
    else:
        first = [state.real.flatten(1), state.imag.flatten(1)]
    wide = x.unsqueeze(3).expand(time, batch, channels, modes).flatten(2)
    y, (re, im) = scan(_SPEC, [wide], first, given, route=route, backend=backend, text=_TEXT)
    shape = (batch, channels, modes)
    return y.view(time, *shape).sum(3), torch.complex(re.view(shape), im.view(shape))


def _powers(exponent: Tensor, at: Tensor) -> Tensor:
    """``exp(at e)``, ``[H, len(at), N]``; the phase of a late step needs more digits than float32 has."""
    return torch.exp(at[:, None] * exponent.to(torch.complex128)[:, None]).to(exponent.dtype)


def _real_product(left: Tensor, right: Tensor) -> Tensor:
    """``Re(left @ right)`` of complex batches of matrices, as one real product."""
    return torch.cat([left.real, left.imag], -1) @ torch.cat([right.real, -right.imag], -2)


def _convolution(x: Tensor, exponent: Tensor, weight: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    (time, batch, channels), modes = x.shape, exponent.shape[1]
    width = math.isqrt(time - 1) + 1  # a step k is q width + r: few powers are taken, the rest is products
    rows = -(-time // width)
    fine = _powers(exponent, torch.arange(width, dtype=torch.float64, device=x.device))  # [H, R, N]
    coarse = _powers(exponent, width * torch.arange(rows, dtype=torch.float64, device=x.device))  # [H, Q, N]
    weighted, across = weight[:, None] * coarse, fine.transpose(1, 2)
    kernel = _real_product(weighted, across).flatten(1)[:, :time]
    sequence = x.permute(1, 2, 0)
    size = 2 * time
    y = torch.fft.irfft(torch.fft.rfft(sequence, size) * torch.fft.rfft(kernel, size), size)[..., :time]
    # The state left behind: newest input first, so that the power is the age.
    padded = torch.nn.functional.pad(sequence.flip(2), (0, rows * width - time))
    aged = padded.transpose(0, 1).reshape(channels, batch * rows, width)
    summed = torch.complex(aged @ fine.real, aged @ fine.imag).view(channels, batch, rows, modes)
    after = (summed * coarse[:, None]).sum(2).transpose(0, 1)
    if state is not None:
        pole = torch.exp(exponent)
        led = (state * pole).transpose(0, 1)[:, :, None] * weighted[:, None]  # [H, B, Q, N]
        free = _real_product(led.flatten(1, 2), across).view(channels, batch, rows * width)[..., :time]
        y = y + free.transpose(0, 1)
        last = torch.tensor([float(time)], dtype=torch.float64, device=x.device)
        after = after + state * _powers(exponent, last).squeeze(1)
    return y.permute(2, 0, 1).contiguous(), after


def _check(x: Tensor, exponent: Tensor, weight: Tensor, state: Tensor | None) -> None:
    if x.dim() != 3 or x.dtype not in (torch.float32, torch.float64):
        raise InputError(f"x must be [T, B, H] float32 or float64, got {list(x.shape)} {x.dtype}")
    wanted = torch.complex64 if x.dtype == torch.float32 else torch.complex128
    if exponent.dim() != 2 or exponent.shape[0] != x.shape[2] or weight.shape != exponent.shape:
        raise InputError(
            f"exponent and weight must be [H, N] with H = {x.shape[2]}, got {list(exponent.shape)}, {list(weight.shape)}"
        )
    shape = (x.shape[1], *exponent.shape)
    if state is not None and state.shape != shape:
        raise InputError(f"state must be [B, H, N] = {list(shape)}, got {list(state.shape)}")
    for name, t in (("exponent", exponent), ("weight", weight), ("state", state)):
        if t is not None and (t.dtype != wanted or t.device != x.device):
            raise InputError(f"{name} must be {wanted} on {x.device} beside x {x.dtype}, got {t.dtype} on {t.device}")
