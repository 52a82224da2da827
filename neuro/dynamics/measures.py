"""How well a trained map has found a system: where it goes, at which frequencies, and how far it can be trusted.

Predictions of a chaotic system part from it after a few Lyapunov times whatever the model, so what is compared are
invariants. (Hess et al. 2023, appendix; Koppe et al. 2019, "Identifying nonlinear dynamical systems via generative
recurrent neural networks".)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuro.errors import InputError

__all__ = ["prediction_error", "spectrum_distance", "state_space_divergence"]

_LEAST = 1e-6  # counts added to every bin of the model


def _checked(truth: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    if truth.dim() != 2 or made.dim() != 2 or truth.shape[1] != made.shape[1] or not len(truth) or not len(made):
        raise InputError(f"truth and made must be [T, M] of the same M, got {list(truth.shape)} and {list(made.shape)}")
    if not bool(torch.isfinite(truth).all()):
        raise InputError("truth must be finite; leave out states with NaN or infinity")
    return truth.detach().double(), made.detach().double()


def state_space_divergence(truth: Tensor, made: Tensor, *, bins: int = 30) -> float:
    """``D_stsp``: Kullback-Leibler divergence of where a system is from where a model is, over a grid of states.

    ``sum_k p_k log(p_k / q_k)`` over the bins of the box that ``truth`` fills, ``bins`` along each variable; states
    of the model outside of it are in no bin but in the total, and 1e-6 is added to every count of the model's.
    It is never quite zero: two halves of one long orbit give what is left by their finite length.

    Args:
        truth: states of the system, ``[T, M]``.
        made: states that the model made by itself, ``[T', M]``; infinity if any is not finite.
        bins: along each variable. The grid has ``bins ** M`` cells: for few variables only.

    Raises:
        InputError: shapes that do not fit; too many cells.

    >>> a = torch.linspace(0, 1, 1000).unsqueeze(1)
    >>> state_space_divergence(a, a, bins=10) < 1e-6, round(state_space_divergence(a, a / 2, bins=2), 1)
    (True, 2.8)
    """
    truth, made = _checked(truth, made)
    cells = bins ** truth.shape[1]
    if bins < 1 or cells > 2**24:
        raise InputError(f"bins ** M must be from 1 to {2**24}, got {bins} ** {truth.shape[1]}; take fewer bins")
    if not bool(torch.isfinite(made).all()):
        return math.inf
    low, high = truth.min(0).values, truth.max(0).values
    width = (high - low).clamp_min(1e-12) / bins

    def counts(states: Tensor) -> Tensor:
        inside = ((states >= low) & (states <= high)).all(1)
        place = ((states[inside] - low) / width).long().clamp_max(bins - 1)
        flat = torch.zeros(len(place), dtype=torch.long)
        for column in place.unbind(1):
            flat = flat * bins + column
        return torch.bincount(flat, minlength=cells).double()

    p = counts(truth) / len(truth)
    q = (counts(made) + _LEAST) / (len(made) + _LEAST * cells)
    seen = p > 0
    return float((p[seen] * (p[seen] / q[seen]).log()).sum())


def spectrum_distance(truth: Tensor, made: Tensor, *, smoothing: float = 20.0) -> float:
    """``D_H``: Hellinger distance of power spectra, 0 (the same) to 1, the mean over variables.

    ``sqrt(1 - sum_f sqrt(F_f G_f))`` with F and G the squared magnitudes of the Fourier transform of the
    standardised series, smoothed by a Gaussian over frequencies and made to sum to 1.

    Args:
        truth: ``[T, M]``.
        made: ``[T', M]``; the longer of the two is cut to the length of the other, and 1 if any is not finite.
        smoothing: standard deviation of the Gaussian, in bins of frequency; 0 for none.

    Raises:
        InputError: shapes that do not fit; a negative smoothing.

    >>> t = torch.arange(1000.0).unsqueeze(1)
    >>> spectrum_distance(torch.sin(t / 9), torch.cos(t / 9)) < 0.05
    True
    >>> spectrum_distance(torch.sin(t / 9), torch.sin(t), smoothing=2.0) > 0.9
    True
    """
    truth, made = _checked(truth, made)
    if smoothing < 0:
        raise InputError(f"smoothing must be 0 or more, got {smoothing:g}")
    if not bool(torch.isfinite(made).all()):
        return 1.0
    length = min(len(truth), len(made))
    p, q = (_spectrum(x[:length], smoothing) for x in (truth, made))
    return float((1 - (p * q).sqrt().sum(0)).clamp_min(0).sqrt().mean())


def _spectrum(x: Tensor, smoothing: float) -> Tensor:
    """``[F, M]``, each column sums to 1; a constant series has all its power at frequency 0."""
    centred = x - x.mean(0)
    power: Tensor = torch.fft.rfft(centred / centred.std(0).clamp_min(1e-12), dim=0).abs().square()
    power[0] += power.sum(0) == 0
    if smoothing:
        reach = math.ceil(4 * smoothing)
        weight = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=x.dtype) / smoothing) ** 2)
        padded = torch.nn.functional.pad(power.t().unsqueeze(1), (reach, reach))
        power = torch.nn.functional.conv1d(padded, weight.view(1, 1, -1))[:, 0].t()
    return power / power.sum(0)


def prediction_error(truth: Tensor, made: Tensor) -> Tensor:
    """Root mean square error of predictions ``[T, B, M]`` at each lag, over samples and variables: ``[T]``.

    Args:
        truth: what came, ``[T, B, M]``.
        made: what was predicted from one start, ``[T, B, M]``.

    Raises:
        InputError: shapes that differ.

    >>> prediction_error(torch.zeros(2, 4, 3), torch.ones(2, 4, 3))
    tensor([1., 1.])
    """
    if truth.dim() != 3 or truth.shape != made.shape:
        raise InputError(f"truth and made must be the same [T, B, M], got {list(truth.shape)} and {list(made.shape)}")
    return (truth - made).square().mean((1, 2)).sqrt()
