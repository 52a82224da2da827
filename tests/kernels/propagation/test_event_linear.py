"""Event-driven products equal dense ones, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import neuro
from neuro.errors import InputError
from neuro.kernels.propagation.event_linear import event_linear


def sparse(*shape: int, density: float, graded: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    mask = torch.rand(shape, generator=generator, dtype=torch.float64) < density
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    return mask * values if graded else mask.double()


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("density", [0.0, 0.03, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 63), (700, 100), (5, 3, 1000), (0, 7), (4, 9)])
def test_equals_dense(shape: tuple[int, ...], density: float, graded: bool) -> None:
    x = sparse(*shape, density=density, graded=graded).requires_grad_()
    weight = torch.randn(shape[-1], 130, dtype=torch.float64).t().requires_grad_()
    bias = torch.randn(130, dtype=torch.float64, requires_grad=True)
    expected = F.linear(x, weight, bias)
    cotangent = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (x, weight, bias), cotangent)
    actual = event_linear(x, weight, bias, mode="event")
    assert torch.allclose(actual, expected, rtol=1e-12, atol=1e-12)
    for want, got in zip(wanted, torch.autograd.grad(actual, (x, weight, bias), cotangent), strict=True):
        assert torch.allclose(want, got, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(event_linear(x, weight, bias, mode="event"), actual)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    x = sparse(600, 200, density=0.05).float()
    weight = torch.randn(100, 200)
    whole = event_linear(x, weight, mode="event")
    for rows in (slice(0, 1), slice(300, 517)):
        assert torch.equal(event_linear(x[rows], weight, mode="event"), whole[rows])


def test_number_of_threads_changes_no_bit() -> None:
    x, weight = sparse(900, 300, density=0.05).float(), torch.randn(2100, 300, requires_grad=True)

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        y = event_linear(x, weight, mode="event")
        return y, torch.autograd.grad(y, weight, torch.ones_like(y))[0]

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = run()
        torch.set_num_threads(4)
        four = run()
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one[0], four[0])
    assert torch.equal(one[1], four[1])


def test_auto_takes_events_where_there_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    from neuro.kernels.propagation import event_linear as module

    seen: list[int] = []
    original = module._gather

    def spy(x: torch.Tensor, *rest: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen.append(int(x.count_nonzero()))
        return original(x, *rest)

    monkeypatch.setattr(module, "_gather", spy)
    weight = torch.randn(100, 200)
    for density in (0.01, 0.9):
        event_linear(sparse(60, 200, density=density).float(), weight)
    assert len(seen) == 1
    assert seen[0] < 200
    event_linear(sparse(2, 200, density=0.01).float(), weight)  # done before the events are found
    event_linear(sparse(900, 200, density=0.01).float(), weight[:10])
    assert len(seen) == 1
    large = torch.randn(1100, 1000)
    for rows, density in ((1, 0.8), (100, 0.18), (100, 0.5)):
        event_linear(sparse(rows, 1000, density=density).float(), large)
    assert len(seen) == 3


def test_only_the_events_are_kept_for_backward() -> None:
    x = sparse(64, 1000, density=0.02).float()
    layer = neuro.Linear(1000, 64, mode="event")
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        layer(x.unsqueeze(0))
    size = sum(t.numel() * t.element_size() for t in kept if t.data_ptr() != layer.weight.data_ptr())
    assert size < 0.1 * x.numel() * x.element_size()


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match="did you mean 'event'"):
        event_linear(torch.zeros(2, 3), torch.zeros(4, 3), mode="evnt")
    with pytest.raises(InputError, match="must end in 3"):
        event_linear(torch.zeros(2, 4), torch.zeros(4, 3))
    with pytest.raises(InputError, match="did you mean 'dense'"):
        neuro.Linear(3, 4, mode="dens")
