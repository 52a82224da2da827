from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neuro
from neuro.training.rules.local.trace import leak, membrane_response

LIKE = torch.zeros(1, dtype=torch.float64)


def impulse(cell: neuro.Cell, steps: int) -> Tensor:
    """What a small current in the first step does to the membrane, over its effect in that step."""
    current = torch.zeros(steps, 1, *cell.size, dtype=torch.float64)
    current[0] = 1e-3
    _, _, states = cell.trace(current)
    _, _, rest = cell.trace(torch.zeros_like(current))
    moved = (states["v"] - rest["v"])[:, 0, 0]
    return moved / moved[0]


@pytest.mark.parametrize(
    "cell",
    [
        neuro.LIF(1, tau=7e-3),
        neuro.LIF(1, tau=7e-3, method="exponential", v_leak=0.2),
        neuro.CuBaLIF(1, tau_mem=9e-3, tau_syn=2e-3, method="exponential"),
        neuro.ALIF(1),
        neuro.IF(1, refractory=3e-3),
        neuro.LI(1, tau=5e-3),
    ],
    ids=lambda cell: type(cell).__name__,
)
def test_the_trace_is_the_answer_of_the_membrane(cell: neuro.Cell) -> None:
    response = membrane_response(cell.double(), LIKE, "DRTP")
    one = torch.zeros(12, 1, dtype=torch.float64)
    one[0] = 1
    made, _ = response(one)
    assert float(made[0]) == pytest.approx(1, abs=1e-12)
    assert torch.allclose(made[:, 0], impulse(cell, 12), rtol=1e-6, atol=1e-9)


def test_different_neurons_share_the_mean() -> None:
    cell = neuro.LIF(2, tau=torch.tensor([4e-3, 8e-3]), learn=()).double()
    assert float(membrane_response(cell, LIKE, "DRTP").transition) == pytest.approx(1 - (1 / 4 + 1 / 8) / 2, rel=1e-6)


def test_a_trace_goes_on_where_it_stopped() -> None:
    x = torch.rand(9, 3, 2, dtype=torch.float64)
    double = membrane_response(neuro.CuBaLIF(1, method="exponential").double(), LIKE, "DRTP")
    for response in (leak(0.7, LIKE), double):
        whole, last = response(x)
        first, between = response(x[:4])
        second, end = response(x[4:], between)
        assert torch.allclose(torch.cat([first, second]), whole, rtol=1e-12)
        assert torch.allclose(end, last, rtol=1e-12)
    assert torch.allclose(leak(0.7, LIKE)(x)[0][1], 0.7 * x[0] + x[1])
