"""The law of plasticity: its values are checked, its steps are those of its equations."""

from __future__ import annotations

import math

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.plasticity.law import TimingLaw


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tau_plus": 0.0}, "tau_plus must be positive"),
        ({"tau_y": math.inf}, "tau_y must be positive and finite"),
        ({"dt": -1e-3}, "dt must be positive"),
        ({"a3_minus": math.nan}, "a3_minus must be finite"),
        ({"mu_plus": -0.5}, "mu_plus must be 0"),
        ({"w_min": 1.0, "w_max": 1.0}, "w_min must be below w_max, got 1.0 and 1.0"),
        ({"mu_plus": 1.0, "w_min": 0.0}, "needs a finite w_max"),
        ({"mu_minus": 0.3, "w_max": 1.0}, "needs a finite w_min"),
    ],
)
def test_bad_values_are_named(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TimingLaw(**values)  # type: ignore[arg-type]


def test_decays_are_exponential() -> None:
    law = TimingLaw(tau_plus=5e-3, tau_minus=7e-3, a3_plus=0.1, tau_x=11e-3, tau_y=13e-3, dt=2e-3)
    assert law.pre_decay() == pytest.approx([math.exp(-2 / 5), math.exp(-2 / 11)])
    assert law.post_decay() == pytest.approx([math.exp(-2 / 7), math.exp(-2 / 13)])
    assert len(TimingLaw().pre_decay()) == 1


def test_a_change_depends_on_the_weight_and_is_clipped_once() -> None:
    law = TimingLaw(mu_plus=2.0, mu_minus=1.0, w_min=-1.0, w_max=3.0)
    weight, up, down = torch.tensor([1.0, 2.9, -0.9]), torch.tensor([0.25, 0.1, 0.0]), torch.tensor([0.5, 0.0, 40.0])
    expected = [1.0 + 0.25 * 4.0 - 0.5 * 2.0, 2.9 + 0.1 * 0.01, -1.0]
    assert law.moved(weight, up, down).tolist() == pytest.approx(expected)
    far = TimingLaw(w_min=0.0, w_max=1.0)
    assert far.moved(torch.tensor(0.9), torch.tensor(5.0), torch.tensor(5.2)).item() == pytest.approx(0.7)
