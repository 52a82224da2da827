"""Normalisation over time: statistics by hand, gradients by finite differences, steps carried in the state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import neuro
from neuro.errors import InputError
from neuro.synapses.normalisation import BNTT, TDBN, TEBN, BatchNorm

MAKE: dict[str, Callable[[], nn.Module]] = {
    "BatchNorm": lambda: BatchNorm(3, eps=1e-3, momentum=0.3),
    "TDBN": lambda: TDBN(3, v_threshold=2.5, alpha=0.7, eps=1e-3, momentum=0.3),
    "TEBN": lambda: TEBN(3, 6, eps=1e-3, momentum=0.3),
    "BNTT": lambda: BNTT(3, 6, eps=1e-3, momentum=0.3),
}
each = pytest.mark.parametrize("name", MAKE)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64) * 2 + 1.5


def made(name: str) -> nn.Module:
    """A layer with parameters and statistics as after some training, gains of both signs."""
    layer = MAKE[name]().double()
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for key, value in layer.state_dict().items():
            drawn = torch.randn(value.shape, generator=g, dtype=torch.float64)
            value.copy_(drawn.abs() + 0.3 if "var" in key else drawn)
    return layer


def run(layer: nn.Module, x: Tensor) -> Tensor:
    y = layer(x)
    out: Tensor = y[0] if isinstance(y, tuple) else y
    return out


def expected(name: str, layer: nn.Module, x: Tensor) -> Tensor:
    """The training equations, statistic by statistic."""
    axes = (1, *range(3, x.dim())) if name == "BNTT" else (0, 1, *range(3, x.dim()))
    mean, variance = x.mean(axes, keepdim=True), x.var(axes, correction=0, keepdim=True)
    y = (x - mean) / (variance + 1e-3).sqrt()
    own = dict(layer.named_parameters()) | {k.removeprefix("norm."): v for k, v in layer.named_parameters()}
    along = (-1, *(1,) * (x.dim() - 3))
    if name == "BNTT":
        return y * own["weight"][: x.shape[0]].view(x.shape[0], 1, -1, *along[1:])
    y = y * own["weight"].view(along) * (2.5 * 0.7 if name == "TDBN" else 1) + own["bias"].view(along)
    return y * own["scale"][: x.shape[0]].view(-1, *(1,) * (x.dim() - 1)) if name == "TEBN" else y


@each
@pytest.mark.parametrize("shape", [(6, 4, 3), (5, 2, 3, 4, 5), (1, 2, 3), (6, 1, 3, 7)])
def test_training_is_the_equation(name: str, shape: tuple[int, ...]) -> None:
    layer, x = made(name), random(*shape)
    assert torch.allclose(run(layer, x), expected(name, layer, x), rtol=1e-12, atol=1e-12)


@each
def test_running_statistics(name: str) -> None:
    layer, x = MAKE[name]().double(), random(6, 5, 3)
    run(layer, x)
    run(layer, x)
    axes = (1,) if name == "BNTT" else (0, 1)
    buffers = {k.removeprefix("norm."): v for k, v in layer.named_buffers()}
    assert torch.allclose(buffers["running_mean"], (1 - 0.7**2) * x.mean(axes))
    assert torch.allclose(buffers["running_var"], 0.7**2 + (1 - 0.7**2) * x.var(axes))


@each
def test_evaluation_is_affine_and_leaves_the_statistics(name: str) -> None:
    layer, x = made(name).eval(), random(4, 3, 3, 2)
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    gain, shift = layer.affine()  # type: ignore[operator]
    rows = slice(0, 4 if len(gain) > 1 else 1)
    wanted = x * gain[rows].view(-1, 1, 3, 1) + shift[rows].view(-1, 1, 3, 1)
    assert torch.allclose(run(layer, x), wanted, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(v, before[k]) for k, v in layer.state_dict().items())
    turned = x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)  # the same numbers in another order of memory
    assert torch.allclose(run(layer, turned), wanted, rtol=1e-12, atol=1e-12)
    assert run(layer, x[:, :1]).shape == (4, 1, 3, 2)
    assert run(layer, x[:0]).shape == (0, 3, 3, 2)
    assert run(layer, x[:, :0]).shape == (4, 0, 3, 2)
    assert MAKE[name]().eval()(x.float()) is not None


@each
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_finite_differences(name: str, training: bool) -> None:
    layer = made(name).train(training)
    names, values = zip(*layer.named_parameters(), strict=True)

    def call(x: Tensor, *parameters: Tensor) -> Tensor:
        y = torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))
        out: Tensor = y[0] if isinstance(y, tuple) else y
        return out

    assert torch.autograd.gradcheck(call, (random(5, 2, 3).requires_grad_(), *values))


@pytest.mark.parametrize("name", ["TEBN", "BNTT"])
@pytest.mark.parametrize("cut", [0, 1, 4, 6])
def test_pieces_are_the_whole(name: str, cut: int) -> None:
    layer, x = made(name).eval(), random(6, 2, 3)
    whole, end = layer(x)
    first, state = layer(x[:cut])
    second, last = layer(x[cut:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(last[0], end[0])
    assert end[0].tolist() == [6, 6]


def test_bntt_trains_the_steps_that_it_is_given() -> None:
    layer, x = BNTT(3, 6).double(), random(2, 5, 3)
    layer(x, (torch.full((5,), 3.0, dtype=torch.float64),))
    moved = (layer.running_mean != 0).any(1)
    assert moved.tolist() == [False, False, False, True, True, False]


def test_tdbn_gives_the_membrane_the_scale_of_its_threshold() -> None:
    y = TDBN(3, v_threshold=4.0, alpha=0.5).double()(random(50, 20, 3))
    assert torch.allclose(y.var((0, 1), correction=0), torch.full((3,), 4.0, dtype=torch.float64), rtol=1e-4)


def network(name: str) -> neuro.Sequential:
    torch.manual_seed(3)
    return neuro.Sequential(neuro.Linear(4, 3), made(name), neuro.LIF(3)).double()


@each
def test_in_a_network_and_a_file(name: str, tmp_path: Path) -> None:
    net, x = network(name).eval(), random(6, 2, 4) * 20
    whole = net(x)[0].detach()
    assert 0 < float(whole.mean()) < 1
    steps, carried = [], net.initial_state(2, dtype=torch.float64)
    for now in x:
        z, carried = net.step(now, carried)
        steps.append(z)
    assert torch.equal(torch.stack(steps), whole)
    again = neuro.load(neuro.save(net, tmp_path / "net.safetensors")).eval()
    assert torch.equal(again.double()(x)[0], whole)
    assert again.definition() == net.definition()
    assert repr(again) == repr(net)


@each
def test_recomputing_would_take_statistics_of_stretches(name: str) -> None:
    net, x = network(name), random(6, 2, 4)
    with pytest.raises(
        InputError, match=r"normalisations \['1'\] take their statistics from all steps.*leave recompute"
    ):
        net(x, recompute=2)
    assert torch.equal(net.eval()(x, recompute=2)[0], net(x)[0])


@pytest.mark.parametrize("name", ["BatchNorm", "TEBN", "BNTT"])
def test_compiles_to_one_graph(name: str) -> None:
    layer, x = made(name).eval(), random(4, 2, 3)
    torch.compiler.reset()
    compiled = torch.compile(lambda x: run(layer, x) * 2, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x), 2 * run(layer, x))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: BatchNorm(0), "BatchNorm features must be a whole number from 1 on, got 0"),
        (lambda: BatchNorm(3, eps=0.0), "BatchNorm eps must be a positive number, got 0.0"),
        (lambda: TDBN(3, v_threshold=-1.0), "TDBN v_threshold must be a positive number, got -1.0"),
        (lambda: TEBN(3, 0), "TEBN steps must be a whole number from 1 on, got 0"),
        (lambda: BNTT(3, 2, dt=0.0), "BNTT dt must be a positive number, got 0.0"),
        (lambda: BatchNorm(3)(torch.zeros(5, 3)), r"takes \[T, B, 3, ...\] \(time first\), got \(5, 3\)"),
        (lambda: BatchNorm(3)(torch.zeros(5, 2, 4)), r"got \(5, 2, 4\)"),
        (lambda: BatchNorm(3)(torch.zeros(1, 1, 3)), r"at least two values a feature .* got 1; use .eval"),
        (lambda: BNTT(3, 6)(torch.zeros(6, 1, 3)), r"at least two values a feature .* got 1; use .eval"),
        (lambda: TEBN(3, 4)(torch.zeros(5, 2, 3)), "knows 4 steps, got 5 after 0; give it steps=5"),
        (lambda: BNTT(3, 4)(torch.zeros(2, 2, 3), (torch.full((2,), 3.0),)), "got 2 after 3; give it steps=5"),
        (lambda: TEBN(3, 4)(torch.zeros(2, 2, 3), (torch.tensor([0.0, 1.0]),)), "same step, got 0 to 1"),
        (lambda: TEBN(3, 4)(torch.zeros(2, 2, 3), (torch.zeros(3),)), r"state must be \[2\], got \[3\]"),
    ],
)
def test_misuse_is_named(call: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()
