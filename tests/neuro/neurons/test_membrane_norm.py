"""A normalised membrane: the paper's loop by hand, gradients by finite differences of the smooth twin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import neuro
from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.neurons.membrane_norm import MPBN


def random(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer(size: int | tuple[int, ...] = 4, **options: object) -> MPBN:
    """``v = 0.25 v + x`` as the paper has it, trained-like values, gains of both signs."""
    cell = neuro.LIF(size, tau=1e-3 / 0.75, r=1 / 0.75, v_threshold=0.5, **options).double()  # type: ignore[arg-type]
    made = MPBN(cell, eps=1e-3, momentum=0.2).double()
    with torch.no_grad():
        made.weight.copy_(random(made.weight.numel(), seed=4))
        made.bias.copy_(0.3 * random(made.weight.numel(), seed=5))
    return made


def by_hand(made: MPBN, x: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes and running mean; batch statistics where none are given."""
    along = (-1, *(1,) * (x.dim() - 3))
    axes = (0, *range(2, x.dim() - 1))
    v, spikes, running = torch.zeros_like(x[0]), [], torch.zeros_like(made.weight)
    for now in x:
        v = 0.25 * v + now
        m, s = (mean, variance) if len(mean) else (v.mean(axes), v.var(axes, correction=0))
        running = 0.8 * running + 0.2 * m
        seen = made.weight.view(along) * (v - m.view(along)) / (s.view(along) + 1e-3).sqrt() + made.bias.view(along)
        z = (seen > 0.5).double()
        v = v * (1 - z)
        spikes.append(z)
    return torch.stack(spikes), running


@pytest.mark.parametrize("shape", [(10, 6, 4), (5, 3, 4, 3, 2), (1, 2, 4)])
def test_is_the_loop_of_the_paper(shape: tuple[int, ...]) -> None:
    made, x = layer(shape[2:]), random(*shape)
    nothing = torch.zeros(0)
    spikes, running = by_hand(made, x, nothing, nothing)
    assert torch.equal(made(x)[0], spikes)
    assert torch.allclose(made.running_mean, running)
    assert 0 < float(spikes.mean()) < 1
    made.running_var.copy_(torch.rand(4) + 0.3)
    made.eval()
    assert torch.equal(made(x)[0], by_hand(made, x, made.running_mean, made.running_var)[0])
    assert torch.allclose(made.running_mean, running)


def test_pieces_are_the_whole_and_batches_vary() -> None:
    made, x = layer().eval(), random(9, 5, 4)
    whole, (end,) = made(x)
    first, state = made(x[:4])
    second, (last,) = made(x[4:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(last, end)
    assert torch.equal(made(x[:, 2:3])[0], whole[:, 2:3])
    turned = x.permute(2, 1, 0).contiguous().permute(2, 1, 0)  # the same numbers in another order of memory
    assert torch.equal(made(turned)[0], whole)
    assert made(x[:0])[0].shape == (0, 5, 4)
    assert made(x[:, :0])[0].shape == (9, 0, 4)
    z, state, traced = made.trace(x)
    assert torch.equal(z, whole)
    assert torch.allclose(traced["v"][0], x[0], rtol=1e-6)  # tau began in float32


class Smooth(nn.Module):
    """The layer with differentiable spikes and every edge kept."""

    def __init__(self, layer: MPBN) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer._run(x, None, Route(cut_reset=False), smooth=True)[0]


@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_the_smooth_twin(training: bool) -> None:
    twin = Smooth(layer(learn=("tau",))).train(training)
    names, values = zip(*twin.named_parameters(), strict=True)

    def call(x: Tensor, *parameters: Tensor) -> Tensor:
        made: Tensor = torch.func.functional_call(twin, dict(zip(names, parameters, strict=True)), (x,))
        return made

    assert names == ("layer.weight", "layer.bias", "layer.cell.log_tau")
    assert torch.autograd.gradcheck(call, (random(4, 3, 4).requires_grad_(), *values))


def test_every_parameter_and_the_input_get_a_gradient() -> None:
    made, x = layer(learn=("tau",)), random(8, 6, 4).requires_grad_()
    made(x)[0].square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in made.parameters())
    assert x.grad is not None
    assert bool(x.grad[0].any())


def test_a_cut_in_time_sends_nothing_to_earlier_steps() -> None:
    made, x = layer(), random(5, 6, 4).requires_grad_()
    made(x, route=Route(cut_time=True))[0][-1].sum().backward()
    assert x.grad is not None
    assert not x.grad[:-1].any()
    assert x.grad[-1].any()


def test_in_a_network_and_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.Linear(5, 4), layer()).double().eval()
    x = random(7, 3, 5)
    again = neuro.load(neuro.save(net, tmp_path / "net.safetensors")).double().eval()
    assert torch.equal(again(x)[0], net(x)[0])
    assert again.definition() == net.definition()
    recorded = neuro.record(net, x)
    assert torch.equal(recorded["1"]["z"], net(x)[0])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: MPBN(neuro.LI(3)), "takes one of LIF, IF, PLIF, got LI"),
        (lambda: MPBN(neuro.LIF(3, reset="subtract")), "needs a cell with reset='value'.*got reset='subtract'"),
        (lambda: MPBN(neuro.LIF(3, refractory=2e-3)), "got a refractory period"),
        (lambda: MPBN(neuro.LIF(3), eps=-1.0), "MPBN eps must be a positive number, got -1.0"),
        (lambda: MPBN(neuro.LIF(3))(torch.zeros(4, 1, 3)), "at least two values a feature and step.*got 1; use .eval"),
        (lambda: MPBN(neuro.LIF(3))(torch.zeros(4, 2, 5)), r"takes \[T, B, 3\] \(time first\), got \(4, 2, 5\)"),
        (lambda: MPBN.from_definition({"cell": {"type": "LI"}, "eps": 1e-5, "momentum": 0.1}), "unknown cell of MPBN"),
    ],
)
def test_misuse_is_named(call: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()
