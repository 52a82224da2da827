"""Learnable delays equal a convolution with the materialised taps, forward and backward, in every mode."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.delays import delayed_linear as module
from neuro.kernels.delays.delayed_event import event_product
from neuro.kernels.delays.delayed_linear import delayed_linear, delayed_reference, extend
from neuro.kernels.propagation.csr import CSR
from neuro.kernels.propagation.propagate import propagate


def made(
    shape: tuple[int, int, int],
    post: int,
    taps: int,
    density: float = 0.2,
    graded: bool = True,
    dtype: torch.dtype = torch.float64,
) -> list[torch.Tensor]:
    """Inputs, weights stored column by column, delays from the first step to the last, and what came before."""
    g = torch.Generator().manual_seed(sum(shape) + post + taps)

    def inputs(time: int) -> torch.Tensor:
        spikes = (torch.rand(time, *shape[1:], generator=g) < density).double()
        return spikes * torch.randn(spikes.shape, generator=g, dtype=torch.float64) if graded else spikes

    weight = torch.randn(shape[2], post, generator=g, dtype=torch.float64).t()
    delay = torch.rand(post, shape[2], generator=g, dtype=torch.float64) * (taps - 1)
    return [a.to(dtype).requires_grad_() for a in (inputs(shape[0]), weight, delay, inputs(taps - 1))]


@pytest.mark.parametrize("mode", ["event", "dense"])
@pytest.mark.parametrize(
    ("shape", "post", "taps", "density", "sigma", "graded"),
    [((1, 1, 1), 1, 1, 1.0, 0.5, True), ((5, 3, 63), 100, 4, 0.2, 1.3, True), ((2, 1, 1000), 7, 9, 0.0, 2.0, True),
     ((9, 2, 30), 65, 25, 1.0, 12.27, True), ((40, 2, 5), 4, 25, 0.1, 0.5, False), ((3, 0, 5), 4, 3, 0.5, 1.0, True),
     ((1, 40, 65), 3, 63, 0.1, 7.0, False), ((2, 2, 0), 3, 5, 0.5, 1.0, True), ((0, 2, 4), 3, 5, 0.5, 1.0, True)],
)  # fmt: skip
def test_equals_the_reference(
    mode: str, shape: tuple[int, int, int], post: int, taps: int, density: float, sigma: float, graded: bool
) -> None:
    x, weight, delay, past = leaves = made(shape, post, taps, density, graded)
    if shape[0] and shape[1] and shape[2]:
        expected = delayed_reference(torch.cat([past, x]), weight, delay, sigma, taps)
    else:  # conv1d takes no empty arrays
        expected = torch.zeros(*shape[:2], post, dtype=x.dtype) + 0 * sum(a.sum() for a in leaves)
    actual, after = delayed_linear(x, weight, delay, sigma, taps=taps, past=past, mode=mode)
    assert torch.equal(after, torch.cat([past, x])[shape[0] :])
    assert actual.shape == expected.shape
    assert torch.allclose(actual, expected, rtol=1e-10, atol=1e-10)
    cotangent = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, leaves, cotangent)
    for want, have in zip(wanted, torch.autograd.grad(actual, leaves, cotangent), strict=True):
        assert have.shape == want.shape
        assert torch.allclose(have, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mode", ["event", "dense"])
def test_gradients_by_finite_differences(mode: str) -> None:
    leaves = made((3, 2, 4), 3, 6, 1.0)

    def run(*a: torch.Tensor) -> torch.Tensor:
        return delayed_linear(a[0], a[1], a[2], 0.9, taps=6, past=a[3], mode=mode)[0]

    assert torch.autograd.gradcheck(run, leaves)


@pytest.mark.parametrize("mode", ["event", "dense"])
def test_single_precision_is_close(mode: str) -> None:
    x, weight, delay, past = leaves = made((30, 4, 100), 64, 25, dtype=torch.float32)
    actual = delayed_linear(x, weight, delay, 6.0, taps=25, past=past, mode=mode)[0]
    wide = [a.detach().double().requires_grad_() for a in leaves]
    expected = delayed_reference(torch.cat([wide[3], wide[0]]), wide[1], wide[2], 6.0, 25)
    assert float((actual - expected).detach().abs().max() / expected.detach().abs().max()) < 1e-5
    cotangent = torch.randn_like(actual)
    wanted = torch.autograd.grad(expected, wide, cotangent.double())
    for want, have in zip(wanted, torch.autograd.grad(actual, leaves, cotangent), strict=True):
        assert float((have - want).abs().max() / want.abs().max()) < 1e-5


@pytest.mark.parametrize("mode", ["event", "dense"])
@pytest.mark.parametrize("sigma", [1e-3, 0.05])
def test_narrow_taps_are_one_delay_rounded(mode: str, sigma: float) -> None:
    x, weight, delay, past = (a.detach() for a in made((20, 3, 30), 12, 8))
    steps = delay.round().to(torch.int32)
    line = CSR.fixed_number(torch.arange(12, dtype=torch.int32).repeat(30, 1), 12, delay=steps.t().contiguous())
    expected = propagate(torch.cat([past, x]), line, weight.t().reshape(-1))[0][7:]
    actual = delayed_linear(x, weight, steps.double(), sigma, taps=8, past=past, mode=mode)[0]
    assert torch.allclose(actual, expected, rtol=1e-12, atol=1e-12)


def test_taps_end_where_the_steps_do() -> None:
    """A delay outside is felt at the nearest step, and a synapse keeps its whole weight."""
    x = torch.zeros(6, 1, 2, dtype=torch.float64)
    x[0] = 1.0
    delay = torch.tensor([[-40.0, 55.0]], dtype=torch.float64)
    weight = torch.tensor([[3.0, 5.0]], dtype=torch.float64)
    for mode in ("event", "dense"):
        y, _ = delayed_linear(x, weight, delay, 0.5, taps=4, mode=mode)
        assert y.flatten().tolist() == pytest.approx([3.0, 0.0, 0.0, 5.0, 0.0, 0.0])


def test_pieces_of_time_equal_the_whole_and_neighbours_do_not_matter() -> None:
    x, weight, delay, _ = (a.detach() for a in made((20, 3, 40), 33, 7, dtype=torch.float32))
    whole, end = delayed_linear(x, weight, delay, 1.5, taps=7, mode="event")
    past, parts = None, []
    for piece in x.split([1, 1, 7, 0, 11]):
        y, past = delayed_linear(piece, weight, delay, 1.5, taps=7, past=past, mode="event")
        parts.append(y)
    assert torch.equal(torch.cat(parts), whole)
    assert past is not None
    assert torch.equal(past, end)
    alone = delayed_linear(x[:, 1:2], weight, delay, 1.5, taps=7, mode="event")[0]
    assert torch.equal(alone, whole[:, 1:2])


def test_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    from neuro.kernels.delays import delayed_event

    monkeypatch.setattr(delayed_event, "_BLOCK", 2**18)  # several blocks of samples
    x, weight, delay, _ = made((9, 20, 30), 300, 5, dtype=torch.float32)

    def run() -> list[torch.Tensor]:
        y = delayed_linear(x, weight, delay, 1.5, taps=5, mode="event")[0]
        return [y, *torch.autograd.grad(y.square().sum(), (weight, delay))]

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = run()
        torch.set_num_threads(4)
        four = run()
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(one, four, strict=True))
    expected = delayed_reference(extend(x, None, 4)[0], weight, delay, 1.5, 5)
    wanted = torch.autograd.grad(expected.square().sum(), (weight, delay))
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-3) for a, b in zip(one[1:], wanted, strict=True))


def test_auto_takes_events_where_there_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = event_product

    def spy(x: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(int(x.count_nonzero()))
        return original(x, *rest)

    monkeypatch.setattr(module, "event_product", spy)
    for density in (0.04, 0.5):
        x, weight, delay, _ = made((20, 3, 30), 12, 3, density)
        delayed_linear(x, weight, delay, 1.0, taps=3)
    assert len(seen) == 1
    assert 0 < seen[0] < 150


def test_no_kernel_and_only_events_are_kept_for_backward() -> None:
    x, weight, delay, _ = made((50, 8, 100), 64, 25, 0.03)
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        delayed_linear(x, weight, delay, 2.0, taps=25)
    own = {t.data_ptr() for t in (weight, delay)}
    size = sum(t.numel() * t.element_size() for t in kept if t.data_ptr() not in own)
    assert 0 < size < 0.1 * x.numel() * x.element_size()


def test_arrays_need_not_be_contiguous() -> None:
    x, weight, delay, past = (a.detach() for a in made((6, 4, 30), 20, 3))
    spread = x.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    apart = torch.stack([weight, weight], 2)[:, :, 0]
    for mode in ("event", "dense"):
        expected = delayed_linear(x, weight, delay, 1.0, taps=3, past=past, mode=mode)[0]
        actual = delayed_linear(spread, apart, delay, 1.0, taps=3, past=past, mode=mode)[0]
        assert torch.allclose(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["event", "dense"])
def test_compiles_without_a_break(mode: str) -> None:
    x, weight, delay, _ = made((5, 2, 10), 6, 4)

    def loss(x: torch.Tensor, weight: torch.Tensor, delay: torch.Tensor) -> torch.Tensor:
        return delayed_linear(x, weight, delay, 1.0, taps=4, mode=mode)[0].square().sum()

    leaves = (x, weight, delay)
    expected = torch.autograd.grad(loss(*leaves), leaves)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for have, want in zip(torch.autograd.grad(compiled(*leaves), leaves), expected, strict=True):
        assert torch.allclose(have, want)


def test_bad_input_is_named() -> None:
    x, weight, delay, past = (a.detach() for a in made((3, 2, 10), 6, 4))
    given: dict[str, Any] = {"x": x, "weight": weight, "delay": delay, "sigma": 1.0, "taps": 4, "past": past}
    cases: list[tuple[str, dict[str, Any]]] = [
        (r"x must be \[T, B, I\]", {"x": x[..., :9]}),
        (r"x must be \[T, B, I\]", {"x": x[0]}),
        ("all be float32", {"x": x.float()}),
        ("all be float32", {"x": x.half(), "weight": weight.half(), "delay": delay.half()}),
        (r"delay must be \[6, 10\]", {"delay": delay[:5]}),
        ("delay must be finite", {"delay": delay * float("nan")}),
        ("sigma must be", {"sigma": 0.0}),
        ("sigma must be", {"sigma": float("inf")}),
        ("taps must be", {"taps": 0}),
        ("taps must be", {"taps": 2.5}),
        (r"past must be \[3, 2, 10\]", {"past": past[1:]}),
        (r"past must be \[3, 2, 10\]", {"past": past.float()}),
        ("did you mean 'event'", {"mode": "evnt"}),
    ]
    for message, change in cases:
        with pytest.raises(InputError, match=message):
            delayed_linear(**(given | change))
