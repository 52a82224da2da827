"""State spaces, gated linear recurrences and Kuramoto oscillators obey the laws of every layer with state."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.layer import Population
from neuro.network import build
from neuro.neurons import POPULATIONS

MAKERS: tuple[Callable[[], Population], ...] = (
    lambda: neuro.S4D(6, modes=4, steps=(0.02, 0.5)),
    lambda: neuro.S4D(6, modes=3, initial="inv", discretisation="bilinear", mode="recurrence", dt=2e-3),
    lambda: neuro.S4D(6, modes=5, initial="lin", mode="convolution"),
    lambda: neuro.GatedLRU(6, 5),
    lambda: neuro.GatedLRU(6, 5, eigenvalues="signed"),
    lambda: neuro.LRUBlock(6, units=5, eigenvalues="signed"),
    lambda: neuro.AKOrN(3, dimension=2, gamma=0.4, omega=0.5, updates=2),
)
IDS = ("s4d", "s4d-bilinear", "s4d-convolution", "gated", "signed", "block", "akorn")
each = pytest.mark.parametrize("make", MAKERS, ids=IDS)
X = torch.randn(100, 3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def seeded(make: Callable[[], Population]) -> Population:
    torch.manual_seed(3)
    return make().double()


@each
def test_a_sequence_is_its_steps_and_its_pieces(make: Callable[[], Population]) -> None:
    layer = seeded(make)
    whole, end = layer(X)
    assert whole.shape == (100, 3, *layer.size)
    for cut in (1, 17, 99):
        first, state = layer(X[:cut])
        second, last = layer(X[cut:], state)
        assert torch.allclose(torch.cat([first, second]), whole, rtol=1e-11, atol=1e-12)
        assert all(torch.allclose(a, b, rtol=1e-11, atol=1e-12) for a, b in zip(last, end, strict=True))
    state = layer.initial_state(3, dtype=torch.float64)
    for t in range(100):
        y, state = layer.step(X[t], state)
        assert torch.allclose(y, whole[t], rtol=1e-11, atol=1e-12)


@each
def test_order_in_the_batch_and_precision(make: Callable[[], Population]) -> None:
    layer = seeded(make)
    order = torch.tensor([2, 0, 1])
    y = layer(X)[0]
    assert torch.allclose(layer(X[:, order])[0], y[:, order], rtol=1e-12, atol=1e-13)
    assert torch.allclose(layer.float()(X.float())[0].double(), y, rtol=1e-3, atol=1e-3)
    assert layer(X.float())[0].dtype == torch.float32


@each
def test_no_step_leaves_the_state_alone(make: Callable[[], Population]) -> None:
    layer = seeded(make)
    state = layer(X)[1]
    y, after = layer(X[:0], state)
    assert y.shape == (0, 3, *layer.size)
    assert all(torch.equal(a, b) for a, b in zip(after, state, strict=True))
    assert layer(X[:, :0])[0].shape == (100, 0, *layer.size)


@each
def test_gradients_by_finite_differences(make: Callable[[], Population]) -> None:
    layer = seeded(make)
    names = [n for n, _ in layer.named_parameters()]
    state = tuple(s.detach() for s in layer(X[:5, :2])[1])
    x = X[:3, :2].clone().requires_grad_()

    def run(x: torch.Tensor, *values: torch.Tensor) -> Any:
        y, after = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x, state))
        return (y, *after)

    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    assert torch.autograd.gradcheck(run, (x, *values), atol=1e-7)
    for grad in torch.autograd.grad(run(x, *values)[0].square().sum(), (x, *values)):
        assert bool(grad.any())


@each
def test_in_a_network_that_is_saved(make: Callable[[], Population], tmp_path: Path) -> None:
    layer = seeded(make).float()
    x = X.float()
    net = neuro.Sequential(layer, neuro.Linear(layer.size[0], 4), neuro.LI(4, tau=20 * layer.dt, dt=layer.dt))
    out, state = net(x)
    read = neuro.load(neuro.save(net, tmp_path / "net.safetensors"))
    assert torch.equal(read(x)[0], out)
    assert torch.equal(copy.deepcopy(net)(x)[0], out)
    assert build(net.definition()).definition() == net.definition()
    first, middle = net(x[:30])
    assert torch.allclose(torch.cat([first, net(x[30:], middle)[0]]), out, rtol=1e-3, atol=1e-4)
    assert torch.allclose(neuro.record(net, x)["0"]["z"], layer(x)[0], rtol=1e-3, atol=1e-4)
    assert POPULATIONS[type(layer).__name__] is type(layer)
    assert repr(layer).startswith(type(layer).__name__)
    assert len(state) == 3
    with pytest.raises(InputError, match=type(layer).__name__):
        neuro.hardware.export(net, tmp_path / "net.nir")


@each
def test_compiles_into_one_graph(make: Callable[[], Population]) -> None:
    layer = seeded(make)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(X[:2])[0], layer(X[:2])[0], rtol=1e-12, atol=1e-13)


@each
def test_a_rule_without_time_reaches_only_the_last_input(make: Callable[[], Population]) -> None:
    layer = seeded(make)
    x = X[:20].clone().requires_grad_()
    route = neuro.Route(cut_time=True)
    if getattr(layer, "mode", "") == "convolution":
        with pytest.raises(InputError, match="a route that cuts time needs mode 'recurrence'"):
            layer(x, route=route)
        return
    y, _ = layer(x, route=route)
    assert torch.allclose(y, layer(x)[0], rtol=1e-11, atol=1e-12)
    (grad,) = torch.autograd.grad(y[-1].square().sum(), x)
    assert not grad[:-1].any()
    assert grad[-1].any()


@each
def test_bad_input_is_named(make: Callable[[], Population]) -> None:
    layer = seeded(make)
    with pytest.raises(InputError, match=r"takes \[T, B, 6\] \(time first\)"):
        layer(X[..., :4])
    with pytest.raises(InputError, match="state must be"):
        layer(X, (torch.zeros(2, 1),))
