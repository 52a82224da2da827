"""Plants and the PID controller: against scipy's filter, by hand, and together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from neuro.errors import InputError
from neuro.evolution import BLIMP, PID, Plant, closed_loop


def test_a_plant_is_its_transfer_function() -> None:
    u = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    state = tuple(s.double() for s in BLIMP.rest(3))
    made = []
    for given in u:
        y, state = BLIMP.step(given, state)
        made.append(y)
    wanted = lfilter([0, *BLIMP.numerator], [1, *BLIMP.denominator], u.numpy(), axis=0)
    assert np.allclose(torch.stack(made)[:-1], wanted[1:], atol=1e-12)  # y of the next step


def test_the_pid_by_hand() -> None:
    pid = PID(2.0, 0.5, 0.1, dt=0.5, limit=3.0, windup=0.4)
    state = pid.rest(1)
    said = []
    for error in (1.0, 0.5, -4.0):
        u, state = pid.step(torch.tensor([error]), state)
        said.append(float(u))
    first = 2.0 + 0.5 * 0.4  # the sum, 0.5, is held at 0.4; nothing to differentiate yet
    assert said == pytest.approx([first, 1.0 + 0.5 * 0.4 - 0.1, -3.0])
    assert float(state[0]) == pytest.approx(-0.4)


def test_the_pid_holds_the_blimp() -> None:
    pid = PID()
    heights, commands = closed_loop(BLIMP, pid.step, pid.rest(2), torch.tensor([[2.0, 1.0]]).expand(1500, 2))
    assert heights.shape == commands.shape == (1500, 2)
    assert float(heights[0].abs().max()) == 0
    assert torch.allclose(heights[-1], torch.tensor([2.0, 1.0]), atol=0.1)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match="as many coefficients below as above"):
        Plant((1.0,), (1.0, 2.0), 0.1)
