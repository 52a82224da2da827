"""What layers with learned delays share: a position without limits, a delay within them."""

from __future__ import annotations

import pytest
import torch

from neuro.delays import LearnedDelays, count_taps
from neuro.errors import InputError


def delays(shortest: int, delay: float | None = None) -> LearnedDelays:
    made = LearnedDelays()
    made._set_delays({"axon": (7,)}, "axon", 6e-3, 1e-3, sigma=None, delay=delay, shortest=shortest)
    return made


@pytest.mark.parametrize("shortest", [0, 1, 3])
def test_the_delay_turns_back_at_both_ends(shortest: int) -> None:
    made = delays(shortest)
    with torch.no_grad():
        made.position.copy_(shortest + torch.tensor([0.25, -0.25, 6.0 - shortest, 6.5 - shortest, -9e3, 9e3, 1e4]))
    steps = made.steps.detach()
    assert steps[:4].tolist() == [shortest + 0.25, shortest + 0.25, 6.0, 5.5]
    assert float(steps.min()) >= shortest
    assert float(steps.max()) <= 6
    (grad,) = torch.autograd.grad(made.steps[:4].sum(), made.position)
    assert grad[:2].tolist() == [1.0, -1.0]
    assert float(grad[3]) == -1.0


def test_sigma_is_part_of_the_state() -> None:
    made, other = delays(1), delays(1)
    made.sigma = 0.9e-3
    other.load_state_dict(made.state_dict())
    assert other.sigma == 0.9e-3
    assert torch.equal(other.round_().position, made.steps.detach().round())


def test_bad_delays_are_named() -> None:
    assert count_taps(6e-3, 1e-3) == 7
    with pytest.raises(InputError, match="dt must be a finite number of seconds above 0"):
        count_taps(6e-3, 0.0)
    with pytest.raises(InputError, match="max_delay must be at least 7 steps"):
        delays(6)
    with pytest.raises(InputError, match=r"delay must be in 0.001..0.006 s"):
        delays(1, 7e-3)
