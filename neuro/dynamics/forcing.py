"""Generalised teacher forcing: learning a chaotic system from its series without gradients that explode.

Chaos makes the product of Jacobians along an orbit grow without bound, and the gradient through time with it. Drawing
the state towards the data by alpha multiplies every factor by ``1 - alpha``: with ``alpha >= 1 - 1/sigma``, sigma a
bound of the Jacobians' norms, the product stays below 1. (Hess et al. 2023, ICML, sections 3.2 and 3.3.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from neuro.dynamics.plrnn import PLRNN
from neuro.errors import FileFormatError, InputError, unknown_name
from neuro.files import atomic_write

__all__ = ["Forcing", "adaptive_alpha", "reconstruct"]

_ESTIMATES = ("product", "maximum")


@torch.no_grad()
def adaptive_alpha(model: PLRNN, states: Tensor, *, estimate: str = "product") -> float:
    """The least share of the data that keeps gradients from growing: ``max(0, 1 - 1/sigma)``.

    Args:
        model: whose Jacobians ``J`` are taken.
        states: where, ``[T, B, M]``: the data of a batch.
        estimate: how sigma is made of the spectral norms ``|J|``: ``"product"``, the geometric mean over time, the
            largest of the batch (the average growth; what the paper trains with), or ``"maximum"``, the largest of
            all, with which no product along ``states`` exceeds 1.

    Raises:
        InputError: another shape; an unknown estimate.

    >>> from neuro.dynamics.plrnn import ShallowPLRNN
    >>> layer = ShallowPLRNN(2, 4)
    >>> with torch.no_grad():
    ...     _ = layer.a.fill_(2.0), layer.outer.zero_()
    >>> round(adaptive_alpha(layer, torch.zeros(5, 1, 2)), 4)  # J = 2
    0.5
    """
    if estimate not in _ESTIMATES:
        raise unknown_name("estimate", estimate, _ESTIMATES)
    if states.dim() != 3 or states.shape[2] != model.size or not states.numel():
        raise InputError(f"states must be [T, B, {model.size}], at least one, got {list(states.shape)}")
    jacobian = model.map().jacobian(states)
    squares = torch.linalg.eigvalsh(jacobian.mT @ jacobian)[..., -1].clamp_min(1e-20)
    sigma = squares.sqrt().max() if estimate == "maximum" else (squares.log().mean(0).max() / 2).exp()
    return max(0.0, 1 - 1 / max(float(sigma), 1e-20))


@dataclass(frozen=True)
class Forcing:
    """How a model is trained on a series.

    Args:
        updates: of the parameters.
        length: steps of a piece of the series.
        batch: pieces of one update.
        rate: learning rate at the first and at the last update, exponential between them.
        alpha: share of the data, fixed; None adapts it: after every ``every`` updates it rises to
            :func:`adaptive_alpha` at once, and falls towards it by a factor of ``decay``.
        every: updates from one adaptation to the next.
        decay: of alpha at an adaptation that asks for less.
        noise: standard deviation of Gaussian noise added to each piece.
        seed: of pieces and noise.

    Raises:
        InputError: a value out of range.

    >>> Forcing(updates=10, alpha=0.2).rate
    (0.001, 1e-06)
    """

    updates: int = 250_000
    length: int = 200
    batch: int = 16
    rate: tuple[float, float] = (1e-3, 1e-6)
    alpha: float | None = None
    every: int = 5
    decay: float = 0.999
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("updates", "length", "batch", "every"):
            if getattr(self, name) < 1:
                raise InputError(f"Forcing {name} must be at least 1, got {getattr(self, name)}")
        if not (self.rate[0] >= self.rate[1] > 0):
            raise InputError(f"Forcing rate must be two numbers above 0, falling, got {self.rate}")
        if not (self.alpha is None or 0 <= self.alpha <= 1) or not 0 <= self.decay <= 1 or self.noise < 0:
            seen = f"{self.alpha}, {self.decay}, {self.noise}"
            raise InputError(f"Forcing alpha and decay must be from 0 to 1, noise 0 or more, got {seen}")

    def learning_rate(self, update: int) -> float:
        """Of update 0, 1, ..., without unit."""
        first, last = self.rate
        return first * math.exp(math.log(last / first) * update / max(1, self.updates - 1))


def reconstruct(
    model: PLRNN,
    series: Tensor,
    forcing: Forcing | None = None,
    *,
    checkpoint: str | Path | None = None,
    save_every: int = 2000,
    progress: bool = False,
) -> list[float]:
    """Train a model to become the system that made a series, by RAdam on the squared error of its forced predictions.

    The state starts at the first datum of a piece; the loss is of the states before they are forced. What is drawn
    for an update depends on the seed and its number only, so a run that is taken up again goes on as if
    it had never stopped. Afterwards ``model.alpha`` is the share it was trained with last.

    Args:
        model: trained in place.
        series: ``[N, M]``, best standardised (mean 0, deviation 1 of every variable), of the model's dtype and device.
        forcing: how.
        checkpoint: file that is written every ``save_every`` updates and at the end, and gone on from if it is there.
        save_every: updates from one to the next.
        progress: whether a line shows how far it is, if there is a terminal.

    Returns:
        Losses of every hundredth update and of the last.

    Raises:
        InputError: a series too short, of another width or not finite; a loss that is not finite.
        FileFormatError: a checkpoint of another kind of run.

    >>> from neuro.dynamics.plrnn import ShallowPLRNN
    >>> turning = torch.arange(400.0) / 9
    >>> series = torch.stack([turning.sin(), turning.cos()], 1)
    >>> losses = reconstruct(ShallowPLRNN(2, 8), series, Forcing(updates=200, length=30, batch=4, rate=(0.01, 0.01)))
    >>> losses[-1] < losses[0]
    True
    """
    forcing = forcing or Forcing()
    _check(model, series, forcing)
    path = None if checkpoint is None else Path(checkpoint)
    optimizer = torch.optim.RAdam(model.parameters(), forcing.rate[0])
    model.alpha = 1.0 if forcing.alpha is None else forcing.alpha
    done, losses = (0, []) if path is None or not path.exists() else _restore(path, model, optimizer)
    with tqdm(total=forcing.updates, initial=done, desc="forcing", disable=None if progress else True) as bar:
        for update in range(done, forcing.updates):
            loss = _update(model, series, forcing, optimizer, update)
            if update % 100 == 0 or update == forcing.updates - 1:
                losses.append(float(loss))
                bar.set_postfix(loss=f"{losses[-1]:.2e}", alpha=f"{model.alpha:.3f}", refresh=False)
                if not math.isfinite(losses[-1]):
                    raise InputError(f"the loss is {losses[-1]} at update {update}; take a smaller rate or more alpha")
            if path is not None and ((update + 1) % save_every == 0 or update == forcing.updates - 1):
                _store(path, model, optimizer, update + 1, losses)
            bar.update()
    return losses


def _update(model: PLRNN, series: Tensor, forcing: Forcing, optimizer: torch.optim.Optimizer, update: int) -> Tensor:
    """One update; the loss before it."""
    generator = torch.Generator(series.device).manual_seed(forcing.seed * 1_000_003 + update)
    options = {"generator": generator, "device": series.device}
    starts = torch.randint(len(series) - forcing.length, (forcing.batch,), **options)  # type: ignore[call-overload]
    pieces = series[torch.arange(forcing.length + 1, device=series.device).unsqueeze(1) + starts]
    if forcing.noise:
        pieces = pieces + forcing.noise * torch.randn(pieces.shape, dtype=pieces.dtype, **options)  # type: ignore[call-overload]
    if forcing.alpha is None and update % forcing.every == 0:
        wanted = adaptive_alpha(model, pieces[:-1])
        model.alpha = wanted if update == 0 else max(wanted, forcing.decay * model.alpha)
    for group in optimizer.param_groups:
        group["lr"] = forcing.learning_rate(update)
    predictions, _ = model(pieces[:-1], (pieces[0],))
    loss: Tensor = (predictions - pieces[1:]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def _store(path: Path, model: PLRNN, optimizer: torch.optim.Optimizer, done: int, losses: list[float]) -> None:
    held = {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "alpha": model.alpha, "done": done,
        "losses": losses,
    }  # fmt: skip
    with atomic_write(path) as temporary:
        torch.save(held, temporary)


def _restore(path: Path, model: PLRNN, optimizer: torch.optim.Optimizer) -> tuple[int, list[float]]:
    try:
        held = torch.load(path, weights_only=True)
        model.load_state_dict(held["model"])
        optimizer.load_state_dict(held["optimizer"])
        model.alpha = held["alpha"]
        return held["done"], held["losses"]
    except Exception as error:
        raise FileFormatError(path, f"no checkpoint of this run ({error}); name another file or remove it") from error


def _check(model: PLRNN, series: Tensor, forcing: Forcing) -> None:
    if series.dim() != 2 or series.shape[1] != model.size:
        raise InputError(f"series must be [N, {model.size}], got {list(series.shape)}")
    if len(series) <= forcing.length + 1:
        raise InputError(f"series must be longer than length + 1 = {forcing.length + 1}, got {len(series)}")
    like = next(model.parameters())
    if series.dtype != like.dtype or series.device != like.device:
        raise InputError(
            f"series is {series.dtype} on {series.device}, the model {like.dtype} on {like.device}; convert with .to()"
        )
    if not bool(torch.isfinite(series).all()):
        raise InputError("series must be finite, got NaN or infinity")
