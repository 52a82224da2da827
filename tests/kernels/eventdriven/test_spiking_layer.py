from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.eventdriven.reference import spiking_layer_reference
from neuro.kernels.eventdriven.spike_times import SpikeTimes
from neuro.kernels.eventdriven.spiking_layer import columns, sample_blocks, spiking_layer, table

CASES = [
    ("none", {"tau_mem": 20e-3, "tau_syn": 10e-3, "end": 0.1}),
    ("axon", {"tau_mem": 20e-3, "tau_syn": 5e-3, "end": 0.1, "v_reset": -0.2}),
    ("synapse", {"tau_mem": 10e-3, "tau_syn": 10e-3, "end": 0.07, "v_threshold": 0.9}),
]


def parameters(kind: str, seed: int = 0) -> dict[str, Any]:
    """Weights of 6 inputs and 4 neurons, recurrent ones, and delays of that kind; all differentiable."""
    generator = torch.Generator().manual_seed(seed)
    made = {
        "weight": torch.randn(4, 6, generator=generator).double() + 1.2,
        "recurrent": torch.randn(4, 4, generator=generator).double() * 0.4,
    }
    if kind != "none":
        made["delay"] = torch.rand((6,) if kind == "axon" else (4, 6), generator=generator).double() * 0.01
    return {name: tensor.requires_grad_() for name, tensor in made.items()}


def at(trains: SpikeTimes, time: Tensor) -> SpikeTimes:
    return SpikeTimes(time, trains.neuron, trains.start, trains.count, trains.neurons)


def differences(f: Callable[[], Tensor], tensors: Sequence[Tensor], step: float) -> list[Tensor]:
    """Central differences of ``f`` in each entry of ``tensors`` (any shapes)."""
    grads = []
    for tensor in tensors:
        flat, grad = tensor.detach().view(-1), torch.zeros(tensor.numel(), dtype=torch.float64)
        for k in range(flat.numel()):
            here = float(flat[k])
            values = []
            for shift in (step, -step):
                flat[k] = here + shift
                values.append(float(f().detach()))
            flat[k] = here
            grad[k] = (values[0] - values[1]) / (2 * step)
        grads.append(grad.view(tensor.shape))
    return grads


@pytest.mark.parametrize(("kind", "constants"), CASES)
def test_spikes_and_gradients_are_those_of_the_reference(
    trains: SpikeTimes, kind: str, constants: dict[str, float]
) -> None:
    given = parameters(kind)
    time = trains.time.clone().requires_grad_()
    options: dict[str, Any] = {**given, **constants, "recurrent_delay": 1e-3}
    made, expected = (f(at(trains, time), **options) for f in (spiking_layer, spiking_layer_reference))
    assert made.time.numel() > 7
    assert torch.equal(made.neuron, expected.neuron)
    assert torch.equal(made.start, expected.start)
    torch.testing.assert_close(made.time, expected.time, rtol=0, atol=1e-14)
    cotangent = torch.randn(made.time.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    leaves = [time, *given.values()]
    found = torch.autograd.grad((made.time * cotangent).sum(), leaves)
    wanted = torch.autograd.grad((expected.time * cotangent).sum(), leaves)
    for a, b in zip(found, wanted, strict=True):
        assert float((a - b).norm() / b.norm()) < 1e-10


@pytest.mark.parametrize("kind", ["synapse", "axon"])
def test_gradients_through_two_recurrent_layers_are_finite_differences(trains: SpikeTimes, kind: str) -> None:
    first, second = parameters(kind, 3), parameters("none", 4)
    second["weight"] = second["weight"].detach()[:, :4].clone().requires_grad_()
    second["delay"] = torch.full((4, 4), 2e-3).double().requires_grad_()
    time = (trains.time + 1e-5 * torch.arange(21)).requires_grad_()  # no two at once: their order would change
    constants: dict[str, Any] = {"tau_mem": 20e-3, "tau_syn": 7e-3, "end": 0.1, "recurrent_delay": 5e-4}

    def loss() -> Tensor:
        made = spiking_layer(spiking_layer(at(trains, time), **first, **constants), **second, **constants)
        return 1e3 * ((made.time - 0.04) ** 2 * (1 + made.neuron)).sum()

    leaves = [time, *first.values(), *second.values()]
    found = torch.autograd.grad(loss(), leaves)
    # Differences in steps of 1e-7 s and V: the error of the second order is far below that of the gradient's size.
    for a, b in zip(found, differences(loss, leaves, 1e-7), strict=True):
        assert float(b.norm()) > 0
        assert float((a - b).norm() / b.norm()) < 1e-7


def test_equal_neurons_spike_together_and_learn_the_same(trains: SpikeTimes) -> None:
    weight = torch.full((3, 6), 2.0, dtype=torch.float64).requires_grad_()
    made = spiking_layer(trains, weight, tau_mem=0.02, tau_syn=0.01, end=0.1)
    times = [made.time[made.neuron == j] for j in range(3)]
    assert times[0].numel() > 3
    assert torch.equal(times[0], times[1])
    assert torch.equal(times[0], times[2])
    made.time.sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad[0], weight.grad[2])


def test_no_spike_in_or_out(trains: SpikeTimes) -> None:
    weight = torch.zeros(4, 6, dtype=torch.float64, requires_grad=True)
    made = spiking_layer(trains, weight, tau_mem=0.02, tau_syn=0.01, end=0.1)
    assert made.start.tolist() == [0, 0, 0, 0]
    (made.time.sum() + made.count.sum()).backward()
    assert weight.grad is not None
    assert not weight.grad.any()
    silent = SpikeTimes(trains.time[:0], trains.neuron[:0], torch.tensor([0]), trains.count[:0], 6)
    assert spiking_layer(silent, weight, tau_mem=0.02, tau_syn=0.01, end=0.1).batch == 0


def test_very_many_spikes_and_a_limit_to_them(trains: SpikeTimes) -> None:
    weight = torch.full((2, 6), 3e3, dtype=torch.float64, requires_grad=True)
    made = spiking_layer(trains, weight, tau_mem=0.02, tau_syn=0.01, end=0.1)
    assert made.time.numel() > 10000
    assert bool((made.time[: int(made.start[1])].diff() >= 0).all())
    made.time.sum().backward()
    assert weight.grad is not None
    assert bool(torch.isfinite(weight.grad).all())
    with pytest.raises(InputError, match="more than limit=1000 spikes"):
        spiking_layer(trains, weight, tau_mem=0.02, tau_syn=0.01, end=0.1, limit=1000)


def test_a_count_raises_the_membrane_at_its_spike(trains: SpikeTimes) -> None:
    weight = torch.full((1, 6), 2.0, dtype=torch.float64, requires_grad=True)
    made = spiking_layer(trains, weight, tau_mem=0.02, tau_syn=0.01, end=float(trains.time[3]) + 1e-3)
    assert int(made.start[1]) == 1
    made.count[:1].sum().backward()
    # dV / dw at the spike, by the kernel of the membrane, over the height of a spike, 1
    d = made.time[0].detach() - trains.time[:12][trains.time[:12] < made.time[0]]
    response = torch.exp(-d / 0.02) - torch.exp(-d / 0.01)
    assert weight.grad is not None
    assert float(weight.grad.sum()) == pytest.approx(float(response.sum()), rel=1e-12)


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same_bits(threads: int) -> None:
    generator = torch.Generator().manual_seed(0)
    time = torch.rand(40, 15, generator=generator, dtype=torch.float64).mul(0.05).sort().values.flatten()
    neuron = torch.randint(0, 63, (600,), generator=generator).int()
    spikes = SpikeTimes(time, neuron, torch.arange(0, 601, 15), torch.ones_like(time), 63)
    weight = (torch.randn(100, 63, generator=generator) + 1).requires_grad_()
    before = torch.get_num_threads()
    made = []
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            out = spiking_layer(spikes, weight, tau_mem=0.02, tau_syn=5e-3, end=0.05)
            made.append((out.time.detach(), *torch.autograd.grad(out.time.square().sum(), weight)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(made[0][0], made[1][0])
    assert torch.equal(made[0][1], made[1][1])


def test_float32_is_near_float64(trains: SpikeTimes) -> None:
    weight = parameters("none")["weight"].detach()
    grads, times = [], []
    for dtype in (torch.float32, torch.float64):
        given = weight.to(dtype).t().contiguous().t().requires_grad_()
        made = spiking_layer(trains, given, tau_mem=0.02, tau_syn=8e-3, end=0.1)
        made.time.sum().backward()
        assert given.grad is not None
        assert given.grad.dtype == dtype
        times.append(made.time.detach())
        grads.append(given.grad.double())
    torch.testing.assert_close(times[0], times[1], rtol=0, atol=1e-7)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-5)


def test_operator(trains: SpikeTimes) -> None:
    given = parameters("synapse")
    arguments = (
        trains.time.clone().requires_grad_(),
        trains.neuron,
        trains.start,
        *(given[n] for n in ("weight", "delay")),
    )
    torch.library.opcheck(
        torch.ops.neuro.event_spikes.default, (*arguments, given["recurrent"], [0.02, 0.01, 1.0, 0.0, 0.1, 1e-3], 1000)
    )


def test_layouts_of_the_loops() -> None:
    weight = torch.arange(6.0).view(2, 3)
    assert columns(weight, weight).tolist() == weight.t().tolist()
    assert columns(None, weight).shape == table(None).shape == (0, 0)
    assert table(torch.ones(3)).shape == (1, 3)
    assert sample_blocks(40) == [(0, 16), (16, 32), (32, 40)]
    assert len(sample_blocks(1000)) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": torch.ones(4, 5)}, "I = 6"),
        ({"weight": torch.full((4, 6), torch.nan)}, "weight must be finite"),
        ({"weight": torch.ones(4, 6).half()}, "float32 or float64"),
        ({"delay": torch.ones(4)}, r"delay must be \[I\] or \[O, I\]"),
        ({"delay": torch.full((6,), -1e-3)}, "at least 0 s"),
        ({"recurrent": torch.ones(4, 6)}, "recurrent must be"),
        ({"recurrent": torch.full((4, 4), torch.inf)}, "recurrent must be finite"),
        ({"tau_mem": 0.0}, "above 0 s"),
        ({"end": torch.inf}, "finite"),
        ({"v_reset": 1.0}, "above v_reset"),
        ({"limit": 0}, "limit must be"),
    ],
)
def test_bad_input_is_refused(trains: SpikeTimes, change: dict[str, Any], message: str) -> None:
    good = {"weight": torch.ones(4, 6), "tau_mem": 0.02, "tau_syn": 0.01, "end": 0.1}
    with pytest.raises(InputError, match=message):
        spiking_layer(trains, **{**good, **change})
