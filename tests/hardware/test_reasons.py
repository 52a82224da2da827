from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import neuro
from neuro.hardware.assumptions import ASSUMPTIONS, assume
from neuro.hardware.reasons import ROUNDING, explain

Maker = Callable[..., neuro.Sequential]
Poisson = Callable[..., Tensor]


def spikes(net: neuro.Sequential, x: Tensor) -> dict[str, Tensor]:
    return {name: traces["z"] for name, traces in neuro.record(net, x).items()}


def under(net: neuro.Sequential, x: Tensor, *starts: str, own_dt: float | None = None) -> dict[str, Tensor]:
    """The spikes of a library with these assumptions."""
    texts = [text for text in ASSUMPTIONS if text.startswith(starts)]
    twin, state, _ = assume(net, texts, x.shape[1], own_dt)
    return {name: traces["z"] for name, traces in neuro.record(twin, x, state).items()}


def test_no_difference_no_reason(spiking: Maker, poisson: Poisson) -> None:
    net, x = spiking(), poisson(30, 4, 12)
    assert explain(net, spikes(net, x), x) == {}


@pytest.mark.parametrize(
    ("options", "assumed", "expected"),
    [
        ({"r": 2.5}, ("r taken",), "r taken as 1, here 2.5"),
        ({"v_reset": -0.5}, ("v_reset taken",), "v_reset taken as 0, here -0.5"),
        ({"reset": "subtract"}, ("resets to v_reset",), "resets to v_reset, here reset 'subtract'"),
        ({"method": "exponential"}, ("steps with forward",), "steps with forward Euler, here method 'exponential'"),
        ({"r": 2.5}, ("r taken", "resets by"), "resets by subtraction, here reset 'value'; r taken as 1, here 2.5"),
    ],
)
def test_the_assumption_is_found(
    options: dict[str, object], assumed: tuple[str, ...], expected: str, spiking: Maker, poisson: Poisson
) -> None:
    net, x = spiking(**options), poisson(50, 6, 12, rate=0.4)
    theirs = under(net, x, *assumed)
    assert not torch.equal(theirs["1"], spikes(net, x)["1"])
    reason = explain(net, theirs, x)["1"]
    assert reason == f"{expected} (our network changed so gives these spikes)"


def test_another_time_step_is_only_thought_of_where_the_library_has_one(spiking: Maker, poisson: Poisson) -> None:
    net, x = spiking(tau=4e-3), poisson(50, 6, 12, rate=0.5)
    theirs = under(net, x, "dt taken", own_dt=5e-4)
    assert explain(net, theirs, x, own_dt=5e-4)["1"].startswith("dt taken as 0.0005 s, here 0.001 s")
    assert explain(net, theirs, x)["1"].startswith("unexplained")


def test_a_silent_library_is_said_to_be_silent(spiking: Maker, poisson: Poisson) -> None:
    net, x = spiking(), poisson(30, 4, 12)
    theirs = {name: torch.zeros_like(z) for name, z in spikes(net, x).items()}
    assert explain(net, theirs, x, own_dt=1e-6)["1"].endswith("(our network changed so is as silent)")


def test_rounding_is_told_from_the_distance_to_the_threshold(spiking: Maker, poisson: Poisson) -> None:
    net, x = spiking(), poisson(30, 3, 12)
    v = neuro.record(net, x)["1"]["v"]
    step, sample, neuron = (int(k) for k in torch.nonzero((v > 0.5) & (v < 0.9))[0])
    net.cells["1"].v_threshold = torch.full((7,), 1.0)
    net.cells["1"].v_threshold[neuron] = v[step, sample, neuron] * (1 + 3e-7)  # just missed
    theirs = spikes(net, x)
    theirs["1"] = theirs["1"].clone()
    assert theirs["1"][step, sample, neuron] == 0
    theirs["1"][step, sample, neuron] = 1
    reasons = explain(net, theirs, x)
    assert list(reasons) == ["1"]
    assert reasons["1"].startswith("rounding: at the first difference in 1 samples the membrane is within ")
    assert float(reasons["1"].split("within ")[1].split(" ")[0]) < ROUNDING / 10


def test_a_later_layer_inherits(spiking: Maker, poisson: Poisson) -> None:
    net, x = spiking(r=2.5), poisson(50, 6, 12, rate=0.4)
    reasons = explain(net, under(net, x, "r taken"), x)
    assert reasons["1"].startswith("r taken")
    changed = spikes(net, x)
    changed["1"] = changed["1"].clone()
    changed["1"][3] = 1 - changed["1"][3]
    changed["3"] = changed["3"].clone()
    changed["3"][3:] = 1 - changed["3"][3:]
    assert explain(net, changed, x)["3"] == "follows from the layers before it"


def test_what_nothing_explains_says_where_it_begins(spiking: Maker, poisson: Poisson) -> None:
    net, x = spiking(), poisson(30, 3, 12)
    theirs = spikes(net, x)
    theirs["3"] = theirs["3"].clone()
    theirs["3"][7, 2, 1] = 1 - theirs["3"][7, 2, 1]
    assert explain(net, theirs, x).keys() == {"3"}
    assert explain(net, theirs, x)["3"].startswith("unexplained: first at sample 2, step 7, neuron 1 of those tried")


def test_an_output_that_is_no_spike(poisson: Poisson) -> None:
    net, x = neuro.Sequential(neuro.Linear(12, 3), neuro.LI(3)), poisson(20, 2, 12)
    theirs = spikes(net, x)
    near = {"1": theirs["1"] * (1 + 1e-6)}
    assert explain(net, near, x)["1"].startswith("rounding")
    assert explain(net, {"1": theirs["1"] + 0.1}, x)["1"].startswith("unexplained")
