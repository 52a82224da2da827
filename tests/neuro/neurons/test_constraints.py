"""Constraints hold by parametrisation: whatever an optimizer does, a time constant stays positive and a delay in range."""

from __future__ import annotations

import pytest
import torch

import neuro
from neuro.neurons import CELLS


@pytest.mark.parametrize("name", sorted(CELLS))
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_positive_parameters_stay_positive_after_a_large_step(name: str, sign: float) -> None:
    kind = CELLS[name]
    declared = kind.equations.parameters
    cell = kind(3, learn=tuple(declared))
    positive = [n for n, p in declared.items() if p.positive]
    before = {n: cell.value(n).detach().clone() for n in positive}
    optimizer = torch.optim.SGD(cell.parameters(), lr=20.0)
    for parameter in cell.parameters():
        parameter.grad = torch.full_like(parameter, -sign)
    optimizer.step()
    for n in positive:
        after = cell.value(n).detach()
        assert bool((after > 0).all()), n
        assert bool(torch.isfinite(after).all()), n
        assert bool((after > before[n]).all() if sign > 0 else (after < before[n]).all()), n


def test_every_cell_declares_its_time_constants_positive() -> None:
    for name, kind in CELLS.items():
        for parameter, declared in kind.equations.parameters.items():
            assert declared.positive or not parameter.startswith("tau"), f"{name}.{parameter}"
    assert neuro.LIF.equations.parameters["tau"].positive
