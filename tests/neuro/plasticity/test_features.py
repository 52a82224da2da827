"""A layer that learns alone: its start, its steps, and what a readout gets of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.plasticity import Oja, SoftHebb, Triangle, imprint, learn_locally, write_grad


def layer(inputs: int, outputs: int) -> neuro.Linear:
    torch.manual_seed(4)
    return neuro.Linear(inputs, outputs, bias=False).double()


def clusters(samples: int = 300) -> tuple[Tensor, Tensor]:
    """``[1, S, 20]`` of length 1 around four centres ``[4, 20]``."""
    g = torch.Generator().manual_seed(3)
    centres = torch.nn.functional.normalize(torch.randn(4, 20, generator=g, dtype=torch.float64), dim=1)
    x = centres[torch.arange(samples) % 4] + 0.1 * torch.randn(samples, 20, generator=g, dtype=torch.float64)
    return torch.nn.functional.normalize(x, dim=1).unsqueeze(0), centres


@pytest.mark.parametrize("power", [1.0, 0.5, 3.0])
def test_triangle_is_its_formula(power: float) -> None:
    u = torch.randn(3, 4, 7, dtype=torch.float64)
    wanted = torch.where(u > u.mean(2, keepdim=True), (u - u.mean(2, keepdim=True)).abs() ** power, 0)
    assert torch.allclose(Triangle(power)(u), wanted, rtol=1e-12)
    assert f"power={power}" in repr(Triangle(power))


def test_imprinted_weights_are_inputs_at_length_one() -> None:
    x, _ = clusters(40)
    x = torch.cat([2.5 * x, torch.zeros(1, 5, 20, dtype=torch.float64)], 1)
    made = layer(20, 6)
    imprint(made, x, seed=2)
    products = made.weight.detach() @ torch.nn.functional.normalize(x[0], dim=1).t()
    best = products.max(1)
    assert torch.allclose(best.values, torch.ones(6, dtype=torch.float64))
    assert len(set(best.indices.tolist())) == 6
    again = layer(20, 6)
    imprint(again, x, seed=2, noise=0.3)
    assert torch.allclose(again.weight.norm(dim=1), torch.ones(6, dtype=torch.float64))
    assert not torch.equal(again.weight, made.weight)


def test_neurons_take_a_cluster_each() -> None:
    x, centres = clusters()
    made = layer(20, 4)
    imprint(made, x[:, :4], noise=0.15, seed=1)
    net = neuro.Sequential(made, Triangle())
    before = (made.weight.detach() @ centres.t()).amax(0)
    learn_locally(net, x, {"0": SoftHebb(beta=20.0, power=0.0)}, lr=1.0, passes=5, batch_size=20, progress=False)
    after = (made.weight.detach() @ centres.t()).amax(0)
    assert after.min() > 0.98
    assert (after > before).all()
    assert made.weight.grad is None


def test_it_is_the_loop_one_would_write() -> None:
    x, _ = clusters(50)
    made, other = layer(20, 3), layer(20, 3)
    learn_locally(neuro.Sequential(made), x, {"0": Oja()}, lr=0.3, passes=2, batch_size=20, seed=7, progress=False)
    net, draw = neuro.Sequential(other), torch.Generator().manual_seed(7)
    orders = [torch.randperm(50, generator=draw).split(20) for _ in range(2)]
    for k, some in enumerate(part for order in orders for part in order):
        net.zero_grad()
        write_grad(net, x[:, some], {"0": Oja()})
        assert other.weight.grad is not None
        with torch.no_grad():
            other.weight -= 0.3 * (1 - k / 6) * other.weight.grad
    assert torch.allclose(made.weight, other.weight, rtol=1e-12)


def test_bad_input_is_named() -> None:
    x, _ = clusters(8)
    net = neuro.Sequential(layer(20, 9))
    with pytest.raises(InputError, match="power must be positive"):
        Triangle(0.0)
    with pytest.raises(InputError, match=r"x must be \[..., 20\]"):
        imprint(layer(20, 2), x[..., :3])
    with pytest.raises(InputError, match="9 neurons need as many inputs that are not 0, got 8"):
        imprint(layer(20, 9), x)
    for wrong in ({"lr": 0.0}, {"lr": 1.0, "passes": 0}, {"lr": 1.0, "batch_size": 0}):
        with pytest.raises(InputError, match="lr must be positive, passes and batch_size at least 1"):
            learn_locally(net, x, {"0": Oja()}, progress=False, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="layer"):
        learn_locally(net, x, {"1": Oja()}, lr=0.1, progress=False)
    with pytest.raises(InputError, match="grew beyond bounds at lr=1e\\+150; lower lr"):
        learn_locally(net, x, {"0": Oja()}, lr=1e150, passes=4, progress=False)
