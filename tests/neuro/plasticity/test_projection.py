"""Hebbian orthogonal projection: stored responses stay, the rows find the subspace, a full one is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.plasticity.projection import HebbianSubspace


def inputs(seed: int, rank: int = 4, count: int = 200, noise: float = 0.0) -> Tensor:
    """``[count, 20]``: most of the power in ``rank`` directions."""
    generator = torch.Generator().manual_seed(seed)
    basis: Tensor = torch.linalg.qr(torch.randn(20, rank, generator=generator, dtype=torch.float64)).Q.t()
    spread = noise * torch.randn(count, 20, generator=generator, dtype=torch.float64)
    return torch.randn(count, rank, generator=generator, dtype=torch.float64) @ basis + spread


def learned(*tasks: Tensor, rows: int = 4) -> HebbianSubspace:
    torch.manual_seed(0)
    subspace = HebbianSubspace(20, lr=0.1).double()
    for x in tasks:
        subspace.grow(rows)
        for batch in x.split(20) * 20:
            subspace.observe(batch)
        subspace.merge()
    return subspace


def test_the_rows_find_the_principal_subspace() -> None:
    x = inputs(1, noise=0.1)
    subspace = learned(x)
    bound = 1 - float(torch.linalg.svdvals(x)[:4].square().sum() / x.square().sum())
    assert bound < subspace.residual(x) < 1.2 * bound
    assert torch.allclose(subspace.old @ subspace.old.t(), torch.eye(4).double(), rtol=0, atol=1e-12)


def test_learning_leaves_the_answers_to_the_stored_subspace_unchanged() -> None:
    subspace = learned(inputs(1), inputs(2))
    stored = torch.randn(30, 8, dtype=torch.float64) @ subspace.old
    layer = nn.Linear(20, 7, bias=False).double()
    before, fresh = layer(stored).detach(), inputs(3)
    answers = layer(fresh).detach()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    for _ in range(50):
        optimizer.zero_grad()
        layer(fresh).sub(1).square().mean().backward()
        subspace.protect(layer.weight)
        optimizer.step()
    assert torch.allclose(layer(stored), before, rtol=0, atol=1e-12)
    assert not torch.allclose(layer(fresh), answers, atol=1e-2)


def test_the_gradient_is_that_of_the_inputs_left() -> None:
    subspace, x = learned(inputs(1)), inputs(5)
    weight, delta = nn.Parameter(torch.zeros(3, 20).double()), torch.randn(200, 3).double()
    subspace.protect(weight)  # nothing there yet
    ((x @ weight.t()) * delta).sum().backward()
    subspace.protect(weight)
    assert weight.grad is not None
    assert torch.allclose(weight.grad, delta.t() @ subspace.orthogonal(x), rtol=1e-10, atol=1e-10)


def test_a_first_task_is_not_forgotten() -> None:
    first, second = inputs(1), inputs(2)
    teacher = torch.randn(2, 3, 20, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    errors = []
    for protected in (False, True):
        torch.manual_seed(1)
        layer, subspace = nn.Linear(20, 3, bias=False).double(), learned(first)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.3)
        for k, x in enumerate((first, second)):
            for _ in range(300):
                optimizer.zero_grad()
                (layer(x) - x @ teacher[k].t()).square().mean().backward()
                if protected and k:
                    subspace.protect(layer.weight)
                optimizer.step()
        errors.append(float((layer(first) - first @ teacher[0].t()).detach().square().mean()))
    assert errors[1] < 1e-3 * errors[0]


def test_old_rows_stand_still_and_the_state_is_kept() -> None:
    subspace = learned(inputs(1))
    old = subspace.old.clone()
    subspace.grow(3)
    assert torch.allclose(subspace.new @ old.t(), torch.zeros(3, 4).double(), atol=1e-12)
    subspace.observe(inputs(2).view(10, 20, 20))
    subspace.observe(inputs(2)[:0])
    assert torch.equal(subspace.old, old)
    assert bool(torch.isfinite(subspace.new).all())
    read = HebbianSubspace(20).double()
    read.load_state_dict(subspace.state_dict())
    assert torch.equal(read.old, old)
    assert torch.equal(read.new, subspace.new)


def test_a_subspace_as_large_as_the_input_is_refused() -> None:
    subspace = learned(inputs(1))
    with pytest.raises(InputError, match="4 of 20 inputs are taken, got 16 more; take fewer rows"):
        subspace.grow(16)
    subspace.grow(15)
    with pytest.raises(InputError, match="still open"):
        subspace.grow(1)


def test_rows_that_are_no_projection_are_refused() -> None:
    subspace = HebbianSubspace(20)
    subspace.grow(2)
    subspace.new = subspace.new * 1.5
    with pytest.raises(InputError, match=r"the rows are not orthogonal, .* lower lr"):
        subspace.merge()


@pytest.mark.parametrize("options", [{"features": 0}, {"repeats": 0}, {"lr": 0.0}, {"momentum": 1.0}])
def test_bad_options_are_named(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="must be"):
        HebbianSubspace(**({"features": 3} | options))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"takes \[..., 3\], got \[2, 4\]"):
        HebbianSubspace(3).orthogonal(torch.zeros(2, 4))
