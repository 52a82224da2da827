from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import neuro
from neuro.hardware.assumptions import ASSUMPTIONS, SameStepCuBaLIF, assume

Maker = Callable[..., neuro.Sequential]


def key(start: str) -> str:
    (found,) = [text for text in ASSUMPTIONS if text.startswith(start)]
    return found


@pytest.mark.parametrize(
    ("start", "options", "name", "value", "told"),
    [
        ("r taken", {"r": 2.5}, "r", 1.0, "r taken as 1, here 2.5"),
        ("v_reset taken", {"v_reset": -0.5}, "v_reset", 0.0, "v_reset taken as 0, here -0.5"),
        ("v_leak taken", {"v_leak": 0.2}, "v_leak", 0.0, "v_leak taken as 0, here 0.2"),
    ],
)
def test_a_parameter_taken_as_a_constant(
    start: str, options: dict[str, float], name: str, value: float, told: str, spiking: Maker
) -> None:
    twin, _, said = assume(spiking(**options), [key(start)], 2, None)
    assert [cell.parameters_si()[name].unique().item() for cell in twin.cells.values()] == [value] * 2
    assert said == [told]


def test_settings(spiking: Maker) -> None:
    net = spiking(method="exponential", reset="subtract")
    texts = [key("dt taken"), key("steps with forward Euler"), key("resets to v_reset")]
    twin, _, said = assume(net, texts, 2, 1e-4)
    assert {(c.dt, c.method, c.reset) for c in twin.cells.values()} == {(1e-4, "euler", "value")}
    assert said == [
        "dt taken as 0.0001 s, here 0.001 s",
        "steps with forward Euler, here method 'exponential'",
        "resets to v_reset, here reset 'subtract'",
    ]


def test_what_changes_nothing_is_not_said(spiking: Maker) -> None:
    net = spiking()
    changing = {text for text in ASSUMPTIONS if assume(net, [text], 2, None)[2]}
    assert changing == {key("steps exponentially"), key("resets by subtraction")}
    assert key("dt taken") in {text for text in ASSUMPTIONS if assume(net, [text], 2, 1e-4)[2]}
    assert not assume(net, [key("dt taken")], 2, net.dt)[2]


def test_one_gain_for_all_neurons() -> None:
    net = neuro.Sequential(neuro.LIF(3, tau=torch.tensor([0.01, 0.02, 0.04]), r=2.0))
    twin, _, said = assume(net, [key("input gain")], 1, None)
    assert twin.cells["0"].parameters_si()["r"].tolist() == pytest.approx([0.5, 1.0, 2.0])
    assert said == ["input gain r/tau taken as its smallest value for all neurons (r 0.5 to 2, here 2)"]


def test_the_whole_input() -> None:
    net = neuro.Sequential(neuro.IF(2, r=50.0))
    twin, _, said = assume(net, [key("adds the input whole")], 1, None)
    assert twin.cells["0"].parameters_si()["r"].tolist() == [1000.0] * 2
    assert said == ["adds the input whole to the membrane, here times r dt with r 50"]
    assert assume(neuro.Sequential(neuro.LIF(2)), [key("adds the input whole")], 1, None)[2] == []


def test_no_refractory_period(spiking: Maker) -> None:
    twin, state, said = assume(spiking(refractory=2e-3), [key("has no refractory")], 3, None)
    assert said == ["has no refractory period, here 0.002 s"]
    x = torch.rand(40, 3, 12, generator=torch.Generator().manual_seed(0)).round()
    assert torch.equal(twin(x, state)[0], spiking()(x)[0])
    kept, state, _ = assume(spiking(refractory=2e-3), [key("r taken")], 3, None)
    assert torch.equal(kept(x, state)[0], spiking(refractory=2e-3)(x)[0])
    assert not torch.equal(kept(x, state)[0], twin(x)[0])


def test_the_membrane_may_start_at_the_leak(spiking: Maker) -> None:
    _, state, said = assume(spiking(v_leak=0.3), [key("membrane starts")], 5, None)
    assert [None if s is None else (s[0].shape, s[0].unique().item()) for s in state] == [
        None, ((5, 7), pytest.approx(0.3)), None, ((5, 4), pytest.approx(0.3))
    ]  # fmt: skip
    assert said == ["membrane starts at v_leak 0.3, here at 0"]


def test_the_current_of_the_same_step() -> None:
    """Against the two lines of semi-implicit Euler written out."""
    torch.manual_seed(0)
    cell = neuro.CuBaLIF(4, tau_syn=4e-3, tau_mem=9e-3, r=3.0, w_in=2.0, v_leak=0.1, v_reset=-0.2)
    x = torch.rand(30, 2, 4) * 3
    twin, state, said = assume(neuro.Sequential(cell), [key("membrane takes")], 2, None)
    assert isinstance(twin.cells["0"], SameStepCuBaLIF)
    assert said == ["membrane takes the current of the same step, here of the step before"]
    z, _ = twin(x, state)
    i, v = torch.zeros(2, 4), torch.zeros(2, 4)
    for step, current in enumerate(x):
        i = i + 1e-3 / 4e-3 * (2.0 * current - i)
        v = v + 1e-3 / 9e-3 * ((0.1 - v) + 3.0 * i)
        assert torch.equal(z[step] > 0, v > 1.0), step
        v = torch.where(v > 1.0, -0.2, v)
    assert 0 < z.mean() < 1


def test_weights_are_shared_not_copied(spiking: Maker) -> None:
    net = spiking()
    assert assume(net, [key("r taken")], 1, None)[0].layers["0"] is net.layers["0"]
