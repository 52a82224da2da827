from __future__ import annotations

from typing import Any

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.eventdriven.membrane import membrane
from neuro.kernels.eventdriven.reference import membrane_reference
from neuro.kernels.eventdriven.spike_times import SpikeTimes


@pytest.mark.parametrize(
    ("kind", "tau_syn"), [("none", None), ("synapse", None), ("axon", 5e-3), ("synapse", 20e-3), ("none", 30e-3)]
)
def test_membrane_and_gradients_are_those_of_the_reference(
    trains: SpikeTimes, kind: str, tau_syn: float | None
) -> None:
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(4, 6, generator=generator).double().requires_grad_()
    shape = {"none": (0,), "axon": (6,), "synapse": (4, 6)}[kind]
    delay = (torch.rand(shape, generator=generator).double() * 0.01).requires_grad_()
    time = trains.time.clone().requires_grad_()
    spikes = SpikeTimes(time, trains.neuron, trains.start, trains.count, 6)
    options: dict[str, Any] = {"steps": 60, "dt": 1.3e-3, "tau_mem": 20e-3, "tau_syn": tau_syn}
    options["delay"] = None if kind == "none" else delay
    made, expected = (f(spikes, weight, **options) for f in (membrane, membrane_reference))
    torch.testing.assert_close(made, expected, rtol=1e-10, atol=1e-12)
    cotangent = torch.randn(made.shape, generator=generator, dtype=torch.float64)
    leaves = [time, weight] + ([delay] if kind != "none" else [])
    found = torch.autograd.grad((made * cotangent).sum(), leaves)
    wanted = torch.autograd.grad((expected * cotangent).sum(), leaves)
    for a, b in zip(found, wanted, strict=True):
        assert float((a - b).norm() / b.norm()) < 1e-10


def test_the_mean_over_all_steps_is_continuous_where_a_spike_passes_a_step() -> None:
    def mean(at: float) -> float:
        time = torch.tensor([at], dtype=torch.float64)
        spikes = SpikeTimes(time, torch.zeros(1).int(), torch.tensor([0, 1]), torch.ones(1).double(), 1)
        return float(membrane(spikes, torch.ones(1, 1).double(), steps=10, dt=1e-3, tau_mem=5e-3).mean())

    assert mean(3e-3 - 1e-8) == pytest.approx(mean(3e-3 + 1e-8), abs=1e-4 * mean(3e-3))
    assert mean(2.9e-3) > mean(3e-3) > mean(3.1e-3)


def test_operator(trains: SpikeTimes) -> None:
    weight = torch.ones(4, 6, dtype=torch.float64, requires_grad=True)
    delay = torch.full((6,), 1e-3, dtype=torch.float64, requires_grad=True)
    time = trains.time.clone().requires_grad_()
    arguments = (time, trains.neuron, trains.start, weight, delay, 20, 1e-3, [0.02, 0.005])
    torch.library.opcheck(torch.ops.neuro.event_membrane.default, arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"dt": 0.0}, "above 0 s"), ({"tau_syn": -1.0}, "above 0 s"), ({"steps": -1}, "whole number")],
)
def test_bad_input_is_refused(trains: SpikeTimes, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        membrane(trains, torch.ones(4, 6), **{"steps": 5, "dt": 1e-3, "tau_mem": 0.02, **change})
