"""Synaptic dynamics against their closed forms (the laws of every cell are in test_cell.py)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import neuro
from neuro.errors import InputError

DT = 0.5e-3


def impulse(cell: neuro.Cell, steps: int = 60) -> torch.Tensor:
    """Response ``[T]`` to one spike at the first step, in float64."""
    x = torch.zeros(steps, 1, 1, dtype=torch.float64)
    x[0] = 1
    y, _ = cell.double()(x)
    flat: torch.Tensor = y.detach().flatten()
    return flat


def times(steps: int = 60) -> torch.Tensor:
    return torch.arange(steps, dtype=torch.float64) * DT


def test_exponential_impulse() -> None:
    cell = neuro.ExponentialSynapse(1, tau=torch.tensor([7e-3], dtype=torch.float64), dt=DT)
    assert torch.allclose(impulse(cell), torch.exp(-times() / 7e-3), atol=1e-14)


def test_alpha_impulse_peaks_at_one_after_tau() -> None:
    cell = neuro.AlphaSynapse(1, tau=torch.tensor([4e-3], dtype=torch.float64), dt=DT)
    y = impulse(cell)
    assert torch.allclose(y, times() / 4e-3 * torch.exp(1 - times() / 4e-3), atol=1e-13)
    assert int(y.argmax()) == 8
    assert float(y[8]) == pytest.approx(1.0, abs=1e-13)


def test_double_exponential_impulse_peaks_at_one() -> None:
    rise, decay = 4e-3 * math.log(2), 8e-3 * math.log(2)
    cell = neuro.DoubleExponentialSynapse(
        1,
        tau_rise=torch.tensor([rise], dtype=torch.float64),
        tau_decay=torch.tensor([decay], dtype=torch.float64),
        # The peak lies on the eighth step.
        dt=rise * decay / (decay - rise) * math.log(decay / rise) / 8,
    )
    y, t = impulse(cell), torch.arange(60, dtype=torch.float64) * cell.dt
    shape = torch.exp(-t / decay) - torch.exp(-t / rise)
    assert torch.allclose(y, shape / shape[8], atol=1e-13)
    assert int(y.argmax()) == 8
    assert float(y[8]) == pytest.approx(1.0, abs=1e-13)


@pytest.mark.parametrize("kind", [neuro.ExponentialSynapse, neuro.AlphaSynapse, neuro.DoubleExponentialSynapse])
def test_the_step_does_not_matter(kind: type[neuro.Cell]) -> None:
    fine, coarse = impulse(kind(1, dt=0.25e-3, learn=()), 41), impulse(kind(1, dt=1e-3, learn=()), 11)
    assert torch.allclose(fine[::4], coarse, atol=1e-12)
    for method in ("euler", "exponential"):
        assert torch.equal(impulse(kind(1, dt=1e-3, learn=(), method=method), 11), coarse)


def test_a_synapse_between_weights_and_neurons(tmp_path: Path) -> None:
    net = neuro.Sequential(
        neuro.Linear(5, 4),
        neuro.LIF(4, tau=2e-3),
        neuro.ShortTermPlasticity(4, U=0.4),
        neuro.Linear(4, 3),
        neuro.DoubleExponentialSynapse(3),
        neuro.LI(3),
    )
    with torch.no_grad():
        net.get_parameter("0.weight").abs_()
    x = torch.rand(30, 2, 5) * 8
    whole, _ = net(x)
    first, state = net(x[:11])
    assert torch.equal(torch.cat([first, net(x[11:], state)[0]]), whole)
    assert torch.equal(neuro.load(neuro.save(net, tmp_path / "net.safetensors"))(x)[0], whole)
    whole.square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name


def test_rise_is_quicker_than_decay() -> None:
    with pytest.raises(InputError, match=r"tau_rise must be below tau_decay, got 0.01 s and 0.01 s; use AlphaSynapse"):
        neuro.DoubleExponentialSynapse(2, tau_rise=10e-3, tau_decay=10e-3)


U, REC, FACIL = 0.15, 0.3, 0.7


def plastic(neurons: int = 1) -> neuro.ShortTermPlasticity:
    return neuro.ShortTermPlasticity(neurons, U=U, tau_rec=REC, tau_facil=FACIL, learn=()).double()


def test_periodic_spikes_settle_at_the_closed_form() -> None:
    gap = 25
    x = torch.zeros(200 * gap, 1, 1, dtype=torch.float64)
    x[::gap] = 1
    y, (p, _, spent) = plastic()(x)
    facil, rec = math.exp(-gap * 1e-3 / FACIL), math.exp(-gap * 1e-3 / REC)
    use = U / (1 - (1 - U) * facil)
    resources = (1 - rec) / (1 - (1 - use) * rec)
    sent = y[::gap].flatten()
    assert sent[-1].item() == pytest.approx(use * resources, rel=1e-5)
    assert float(y.sum()) == pytest.approx(float(sent.sum()), rel=1e-12)  # nothing between the spikes
    # The state is that of the last spike and the 24 steps since.
    assert p.item() == pytest.approx(use * math.exp(-24e-3 / FACIL), rel=1e-5)
    assert spent.item() == pytest.approx((1 - resources + use * resources) * math.exp(-24e-3 / REC), rel=1e-5)


def test_any_spikes_are_the_recurrence_from_spike_to_spike() -> None:
    at = [3, 4, 9, 60, 61, 62, 300, 420]
    x = torch.zeros(500, 1, 1, dtype=torch.float64)
    x[at] = 1
    y, _ = plastic()(x)
    use, resources, last, expected = 0.0, 1.0, 0, []
    for t in at:
        use, resources = (
            use * math.exp((last - t) * 1e-3 / FACIL),
            1 - (1 - resources) * math.exp((last - t) * 1e-3 / REC),
        )
        use += U * (1 - use)
        expected.append(use * resources)
        resources -= use * resources
        last = t
    assert y[at].flatten().tolist() == pytest.approx(expected, rel=1e-6)
    assert expected[2] > expected[0]  # facilitation


def test_use_stays_between_zero_and_one_in_training() -> None:
    cell = neuro.ShortTermPlasticity(3, U=0.9)
    optimizer = torch.optim.SGD(cell.parameters(), lr=3.0)
    for _ in range(5):
        optimizer.zero_grad()
        (-cell(torch.ones(1, 1, 3))[0].sum()).backward()
        optimizer.step()
    assert bool((cell.value("U") > 0.9).all())
    assert bool((cell.value("U") < 1).all())
    for wrong in (1.0, 0.0, -0.5):
        with pytest.raises(InputError, match="U must be above 0 and below 1"):
            neuro.ShortTermPlasticity(3, U=wrong)


def test_sigma_adds_up_and_its_bias_counts_once() -> None:
    y, (v,) = neuro.Sigma(2, bias=0.5)(torch.ones(4, 1, 2))
    assert y[:, 0, 0].tolist() == [1.5, 2.5, 3.5, 4.5]
    assert v.tolist() == [[4.0, 4.0]]
