"""Event-driven convolution equals torch's, forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

import neuro
from neuro.errors import InputError
from neuro.kernels.propagation import event_conv as module
from neuro.kernels.propagation.event_conv import event_conv2d

CASES = [  # input [R, C, H, W], kernel [O, kh, kw], stride, padding
    ((3, 2, 9, 7), (5, 3, 3), (1, 1), (1, 1)),
    ((2, 3, 10, 11), (4, 5, 2), (2, 3), (0, 2)),
    ((1, 1, 1, 1), (1, 1, 1), (1, 1), (0, 0)),
    ((17, 1, 4, 63), (1, 2, 4), (3, 1), (2, 0)),
    ((0, 2, 5, 5), (3, 3, 3), (1, 1), (1, 1)),
]


def sparse(shape: tuple[int, ...], density: float, graded: bool) -> torch.Tensor:
    g = torch.Generator().manual_seed(5)
    mask = torch.rand(shape, generator=g) < density
    return mask * (torch.randn(shape, generator=g, dtype=torch.float64) if graded else 1.0)


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), CASES)
def test_equals_dense(
    size: tuple[int, ...], kernel: tuple[int, ...], stride: Any, padding: Any, density: float, graded: bool
) -> None:
    x = sparse(size, density, graded).double().requires_grad_()
    weight = torch.randn(kernel[0], size[1], *kernel[1:], dtype=torch.float64, requires_grad=True)
    bias = torch.randn(kernel[0], dtype=torch.float64, requires_grad=True)
    wanted = F.conv2d(x, weight, bias, stride, padding)
    made = event_conv2d(x, weight, bias, stride, padding, mode="event")
    assert made.shape == wanted.shape
    assert torch.allclose(made, wanted, rtol=1e-12, atol=1e-12)
    cotangent = torch.randn_like(wanted)
    grads = torch.autograd.grad(made, (x, weight, bias), cotangent)
    for got, want in zip(grads, torch.autograd.grad(wanted, (x, weight, bias), cotangent), strict=True):
        assert torch.allclose(got, want, rtol=1e-11, atol=1e-11)


def test_non_contiguous_input_and_no_bias() -> None:
    x = sparse((4, 6, 8, 3), 0.3, True).permute(0, 3, 1, 2)
    weight = torch.randn(3, 3, 2, 2, dtype=torch.float64).transpose(2, 3)
    assert torch.allclose(event_conv2d(x, weight, mode="event"), F.conv2d(x, weight), rtol=1e-12)


def test_number_of_threads_changes_no_bit() -> None:
    x = sparse((50, 3, 12, 12), 0.1, True).float()
    weight = torch.randn(7, 3, 3, 3, requires_grad=True)
    before = torch.get_num_threads()
    made = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            y = event_conv2d(x, weight, mode="event")
            made.append((y, torch.autograd.grad(y, weight, torch.ones_like(y))[0]))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))


def test_auto_takes_events_where_there_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    original = module._event_conv_op

    def spy(x: torch.Tensor, *rest: Any) -> Any:
        seen.append(float(x.mean()))
        return original(x, *rest)

    monkeypatch.setattr(module, "_event_conv_op", spy)
    deep = torch.randn(8, 32, 3, 3)
    for density in (0.005, 0.5):
        event_conv2d(sparse((4, 32, 20, 20), density, False).float(), deep)
    assert len(seen) == 1
    assert seen[0] < 0.02
    event_conv2d(sparse((40, 2, 20, 20), 0.005, False).float(), torch.randn(8, 2, 3, 3))  # oneDNN is quicker
    event_conv2d(sparse((1, 32, 4, 4), 0.005, False).float(), torch.randn(1, 32, 3, 3))
    assert len(seen) == 1


def test_the_layer_passes_its_mode_on() -> None:
    torch.manual_seed(1)
    x = sparse((3, 2, 2, 8, 8), 0.2, False).float()
    event, dense = (neuro.Conv2d(2, 4, 3, padding=1, mode=m) for m in ("event", "dense"))
    dense.load_state_dict(event.state_dict())
    assert torch.allclose(event(x), dense(x), atol=1e-6)
    assert event.definition()["mode"] == "event"
    with pytest.raises(InputError, match="did you mean 'dense'"):
        neuro.Conv2d(1, 1, 1, mode="dens")


def test_registered_op_passes_opcheck() -> None:
    x = sparse((3, 2, 6, 5), 0.4, True).requires_grad_()
    weight = torch.randn(4, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(torch.ops.neuro.event_conv2d.default, (x, weight, bias, [2, 1], [1, 0]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mode": "evnt"}, "did you mean 'event'"),
        ({"x": torch.zeros(2, 3, 4)}, r"x must be \[R, C, H, W\]"),
        ({"weight": torch.zeros(4, 3, 2, 2)}, r"got \[1, 2, 5, 5\] and \[4, 3, 2, 2\]"),
        ({"stride": (0, 1)}, "stride must be at least 1"),
        ({"padding": (0, -1)}, "padding at least 0"),
        ({"weight": torch.zeros(4, 2, 7, 2)}, "larger than the padded input"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], says: str) -> None:
    given: dict[str, Any] = {"x": torch.zeros(1, 2, 5, 5), "weight": torch.zeros(4, 2, 3, 3)}
    with pytest.raises(InputError, match=says):
        event_conv2d(**(given | change))
