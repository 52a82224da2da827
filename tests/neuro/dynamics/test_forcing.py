"""Generalised teacher forcing: bounded products of Jacobians, adaptation, training, going on after a stop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neuro.dynamics import Forcing, ShallowPLRNN, adaptive_alpha, lyapunov_exponents, reconstruct
from neuro.errors import FileFormatError, InputError


def chaotic() -> tuple[ShallowPLRNN, torch.Tensor]:
    """A random map with a positive exponent and its own orbit ``[T, 1, 3]``."""
    for seed in range(50):
        torch.manual_seed(seed)
        model = ShallowPLRNN(3, 50).double()
        with torch.no_grad():
            model.outer.mul_(12)
            model.inner.mul_(3)
        orbit = model.generate(torch.zeros(1, 3, dtype=torch.float64), 500)
        if float(lyapunov_exponents(model.map().jacobian(orbit[:, 0]), skip=50)[0]) > 0.1:
            return model, orbit
    raise AssertionError("no map is chaotic")


def largest_product(model: ShallowPLRNN, orbit: torch.Tensor, alpha: float) -> float:
    product, most = torch.eye(3, dtype=torch.float64), 0.0
    for step in model.map().jacobian(orbit[:, 0]).detach():
        product = (1 - alpha) * step @ product
        most = max(most, float(torch.linalg.matrix_norm(product, 2)))
    return most


def test_alpha_bounds_the_product_of_a_chaotic_map() -> None:
    model, orbit = chaotic()
    assert largest_product(model, orbit, 0.0) > 1e6
    assert largest_product(model, orbit, adaptive_alpha(model, orbit, estimate="maximum")) <= 1 + 1e-9
    assert largest_product(model, orbit, adaptive_alpha(model, orbit)) < 100  # an average, no bound at all times


def test_alpha_of_a_batch_is_that_of_its_worst_piece() -> None:
    model, orbit = chaotic()
    pieces = orbit[:400].view(4, 100, 3).transpose(0, 1)
    worst = max(adaptive_alpha(model, pieces[:, k : k + 1]) for k in range(4))
    assert adaptive_alpha(model, pieces) == pytest.approx(worst, abs=1e-12)
    norms = torch.linalg.matrix_norm(model.map().jacobian(pieces).detach(), 2)
    assert adaptive_alpha(model, pieces, estimate="maximum") == pytest.approx(1 - 1 / float(norms.max()))
    wanted = 1 - 1 / float(norms.log().mean(0).max().exp())
    assert adaptive_alpha(model, pieces) == pytest.approx(wanted)


def test_a_map_that_contracts_needs_no_forcing() -> None:
    model = ShallowPLRNN(2, 4)
    with torch.no_grad():
        model.outer.mul_(0.01)
    assert adaptive_alpha(model, torch.randn(5, 2, 2)) == 0


def ring(number: int = 600) -> torch.Tensor:
    t = torch.arange(float(number)) / 5
    return torch.stack([t.sin(), t.cos()], 1)


def test_it_learns_a_ring_and_goes_round_alone() -> None:
    torch.manual_seed(0)
    model = ShallowPLRNN(2, 30)
    losses = reconstruct(model, ring(), Forcing(400, 10, 16, (0.01, 1e-3)))
    assert losses[-1] < 1e-3 < losses[0]
    assert 0 <= model.alpha < 0.5
    radius = model.generate(ring()[:1], 200).norm(dim=-1)
    assert bool(((radius > 0.7) & (radius < 1.3)).all())


def test_a_run_taken_up_again_is_the_run(tmp_path: Path) -> None:
    forcing, made = Forcing(30, 20, 4, noise=0.05, seed=3), []
    for stop in (None, 12):
        path = tmp_path / f"{stop}.pt"
        if stop:
            torch.manual_seed(0)
            _interrupt(ShallowPLRNN(2, 5), forcing, path, stop)
        torch.manual_seed(0 if stop is None else 1)
        model = ShallowPLRNN(2, 5)
        losses = reconstruct(model, ring(), forcing, checkpoint=path)
        made.append((losses, model.alpha, model.state_dict()))
    assert made[0][:2] == made[1][:2]
    assert all(torch.equal(value, made[1][2][name]) for name, value in made[0][2].items())


class Stopped(Exception):
    """Raised in place of a machine that goes down."""


def _interrupt(model: ShallowPLRNN, forcing: Forcing, path: Path, updates: int) -> None:
    calls = iter(range(updates))

    def count(*_: object) -> None:
        if next(calls, None) is None:
            raise Stopped

    model.register_forward_pre_hook(count)
    with pytest.raises(Stopped):
        reconstruct(model, ring(), forcing, checkpoint=path, save_every=updates)


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    model = ShallowPLRNN(2, 5)
    with pytest.raises(InputError, match="longer than length"):
        reconstruct(model, ring(20), Forcing(1, 30))
    with pytest.raises(InputError, match=r"series must be \[N, 2\]"):
        reconstruct(model, torch.zeros(50, 3))
    with pytest.raises(InputError, match="convert with"):
        reconstruct(model, ring().double(), Forcing(1, 30))
    with pytest.raises(InputError, match="series must be finite"):
        reconstruct(model, ring() / 0, Forcing(1, 30))
    with pytest.raises(InputError, match="the loss is"):
        reconstruct(model, ring() * 1e25, Forcing(1, 30, alpha=0.0))
    with pytest.raises(InputError, match="updates must be at least 1"):
        Forcing(0)
    with pytest.raises(InputError, match="falling"):
        Forcing(rate=(1e-3, 1e-2))
    with pytest.raises(InputError, match="alpha and decay"):
        Forcing(alpha=2.0)
    with pytest.raises(InputError, match="unknown estimate 'mean'"):
        adaptive_alpha(model, torch.zeros(1, 1, 2), estimate="mean")
    (tmp_path / "other.pt").write_bytes(b"no")
    with pytest.raises(FileFormatError, match="no checkpoint of this run"):
        reconstruct(model, ring(), Forcing(1, 30), checkpoint=tmp_path / "other.pt")
