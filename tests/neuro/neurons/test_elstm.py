"""The eLSTM's gradient forward in time is that of backward in time, to rounding, in any pieces."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.neurons.elstm import ForwardGradient

X = torch.randn(70, 10, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SIGNAL = torch.randn(70, 10, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def layer() -> neuro.ELSTM:
    torch.manual_seed(2)
    made = neuro.ELSTM(3, 5).double()
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.rand_like(p))  # as in the test of the authors' code: nothing small
    return made


def started() -> Tensor:
    return torch.full((10, 5), 0.5, dtype=torch.float64)


def backward(made: neuro.ELSTM) -> dict[str, Tensor]:
    made.zero_grad()
    (made(X, (started(),))[0] * SIGNAL).sum().backward()
    return {n: p.grad.clone() for n, p in made.named_parameters() if p.grad is not None}


def forward(made: neuro.ELSTM, steps: int, **options: Any) -> tuple[dict[str, Tensor], list[ForwardGradient]]:
    state: Any = (started(),)
    traces, total, parts = None, dict[str, Tensor](), []
    for x, signal in zip(X.split(steps), SIGNAL.split(steps), strict=True):
        part = made.rtrl(x, signal, state, traces, **options)
        state, traces = part.state, part.traces
        total = {n: total.get(n, torch.zeros(())) + g for n, g in part.gradients.items()}
        parts.append(part)
    return total, parts


@pytest.mark.parametrize("steps", [1, 9, 70])
def test_real_time_recurrent_learning_is_exact_over_seventy_steps(steps: int) -> None:
    made = layer()
    wanted, (got, parts) = backward(made), forward(made, steps)
    assert set(got) == set(wanted) == {n for n, _ in made.named_parameters()}
    for name, gradient in wanted.items():
        assert got[name].shape == gradient.shape
        assert float((got[name] - gradient).abs().max()) <= 1e-9 * float(gradient.abs().max()), name
    y, (c,) = made(X, (started(),))
    assert torch.allclose(torch.cat([p.output for p in parts]), y, rtol=1e-12, atol=1e-14)
    assert torch.allclose(parts[-1].state[0], c, rtol=1e-12, atol=1e-14)
    assert parts[-1].traces.weight.numel() == 10 * 2 * 5 * (3 + 1)  # per sample; whatever the time


def test_the_reference_gives_the_same() -> None:
    made = layer()
    ours, plain = forward(made, 35)[0], forward(made, 35, backend="reference")[0]
    assert all(torch.allclose(ours[n], plain[n], rtol=1e-11) for n in ours)


def test_the_past_counts() -> None:
    """Cutting what is carried changes the gradient: the traces are not decoration."""
    made = layer()
    whole = forward(made, 70)[0]["input_weight"]
    state: Any = (started(),)
    cut = torch.zeros_like(whole)
    for x, signal in zip(X.split(10), SIGNAL.split(10), strict=True):
        part = made.rtrl(x, signal, state)
        state, cut = part.state, cut + part.gradients["input_weight"]
    assert float((cut - whole).abs().max()) > 0.01 * float(whole.abs().max())


def test_the_gradient_of_the_input_is_that_of_its_own_step() -> None:
    made, state = layer(), started()
    part = made.rtrl(X, SIGNAL, (state,))
    for t in (0, 31, 69):
        x = X[t].clone().requires_grad_()
        y, (state,) = made.step(x, (made(X[:t], (started(),))[1][0].detach(),))
        (wanted,) = torch.autograd.grad((y * SIGNAL[t]).sum(), x)
        assert torch.allclose(part.input_gradient[t], wanted, rtol=1e-10, atol=1e-13)


def test_nothing_is_written_and_single_precision_works() -> None:
    made = layer().float()
    part = made.rtrl(X.float(), SIGNAL.float())
    assert all(p.grad is None for p in made.parameters())
    assert not any(g.requires_grad for g in (part.output, *part.gradients.values(), part.input_gradient))
    assert part.gradients["state_weight"].dtype == torch.float32


def test_gates_by_hand() -> None:
    made = neuro.ELSTM(1, 1).double()
    with torch.no_grad():
        for name, value in (
            ("input_weight", [[0.5], [-0.25]]),
            ("input_bias", [0.1, 0.2]),
            ("state_weight", [[0.3], [0.7]]),
            ("output_weight", [[1.5, -0.5]]),
            ("output_bias", [0.05]),
        ):
            made.get_parameter(name).copy_(torch.tensor(value, dtype=torch.float64))
        h, (c,) = made(torch.full((1, 1, 1), 2.0, dtype=torch.float64), (torch.full((1, 1), 0.4, dtype=torch.float64),))
    wide = torch.tensor([1.1 + 0.12, -0.3 + 0.28], dtype=torch.float64)
    z, f = torch.tanh(wide[0]), torch.sigmoid(wide[1])
    wanted = f * 0.4 + (1 - f) * z
    assert c.item() == pytest.approx(wanted.item(), rel=1e-13)
    assert h.item() == pytest.approx((torch.sigmoid(3.05 - 0.5 * wanted) * wanted).item(), rel=1e-13)


def test_large_drives_stay_finite() -> None:
    made = layer()
    x = (X * 1e4).requires_grad_()
    y, _ = made(x)
    assert bool(torch.isfinite(torch.autograd.grad(y.sum(), x)[0]).all())
    assert bool(torch.isfinite(y).all())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"signal": SIGNAL[:, :, :2]}, r"signal must be \[T, B, units\] = \[70, 10, 5\], got \[70, 10, 2\]"),
        ({"signal": None}, "got NoneType"),
        ({"x": X[:, :, :2]}, r"takes \[T, B, 3\]"),
        ({"state": (torch.zeros(3, 5),)}, "state must be"),
        ({"traces": "last"}, r"traces.weight must be \[1, 7, 10, 4\]"),
    ],
)
def test_bad_input_is_named(given: dict[str, Any], says: str) -> None:
    made = layer()
    if "traces" in given:
        given = {"traces": made.rtrl(X, SIGNAL).traces, "x": X[:, :7], "signal": SIGNAL[:, :7]}
    with pytest.raises(InputError, match=says):
        made.rtrl(**({"x": X, "signal": SIGNAL} | given))
