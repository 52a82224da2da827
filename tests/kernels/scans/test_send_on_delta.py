"""Send-on-delta: every backend is the definition, whatever the sizes and threads."""

from __future__ import annotations

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.scans.send_on_delta import send_on_delta, send_on_delta_reference

SHAPES = [(1, 1, 1), (40, 2, 63), (7, 3, 1000), (0, 2, 3), (5, 0, 3), (5, 2, 0)]


def walk(*shape: int, dtype: torch.dtype = torch.float64, size: float = 0.3) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=dtype).mul(size).cumsum(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_numba_equals_the_reference(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    x = walk(*shape, dtype=dtype)
    start = torch.full(shape[1:], 0.1, dtype=dtype)
    made = send_on_delta(x, start, 0.37, backend="numba")
    assert made.dtype == dtype
    assert torch.equal(made, send_on_delta_reference(x, start, 0.37))


def test_events_are_those_of_a_loop_by_hand() -> None:
    x, threshold = walk(200, 1, 1), 0.25
    sent, expected = 0.5, []
    for value in x.flatten().tolist():
        on, off = value - sent >= threshold, value - sent <= -threshold
        sent += threshold * (on - off)
        expected.append([float(on), float(off)])
    made = send_on_delta(x, torch.full((1, 1), 0.5, dtype=x.dtype), threshold)
    assert made.view(200, 2).tolist() == expected
    assert float(made.sum()) > 50


def test_a_signal_at_rest_sends_nothing_and_a_steep_one_in_every_step() -> None:
    rest = torch.full((50, 2, 3), 7.25)
    assert not send_on_delta(rest, rest[0], 1e-3).any()
    steep = torch.arange(50.0).view(50, 1, 1)
    made = send_on_delta(steep, steep[0] - 1, 0.5)
    assert made[:, 0, 0].all()
    assert not made[:, 0, 1].any()


def test_a_move_of_exactly_the_threshold_is_sent() -> None:
    x = torch.tensor([0.0, 0.5, 0.0, -0.5]).view(4, 1, 1)
    assert send_on_delta(x, x[0], 0.5)[:, 0, :, 0].tolist() == [[0, 0], [1, 0], [0, 1], [0, 1]]


def test_a_nan_sends_nothing_and_does_not_stay() -> None:
    x = torch.tensor([0.0, float("nan"), 1.0]).view(3, 1, 1)
    assert send_on_delta(x, x[0], 0.5)[:, 0, 0, 0].tolist() == [0, 0, 1]


def test_non_contiguous_signals_and_any_number_of_threads() -> None:
    x = walk(1200, 4, 60).permute(2, 1, 0)  # [60, 4, 1200]: several blocks a row
    expected = send_on_delta_reference(x, x[0], 0.2)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            assert torch.equal(send_on_delta(x, x[0], 0.2), expected)
    finally:
        torch.set_num_threads(before)


def test_passes_opcheck_and_compiles_to_one_graph() -> None:
    x = walk(6, 2, 3)
    torch.library.opcheck(torch.ops.neuro.send_on_delta.default, (x, x[0], 0.4))
    torch.compiler.reset()
    made = torch.compile(lambda x: send_on_delta(x, x[0], 0.4) * 2, fullgraph=True, backend="aot_eager")(x)
    assert torch.equal(made, 2 * send_on_delta(x, x[0], 0.4))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x": torch.zeros(3, 2)}, r"\[T, B, N\]"),
        ({"start": torch.zeros(1, 2)}, r"start \[B, N\], got \[3, 1, 1\] and \[1, 2\]"),
        ({"start": torch.zeros(1, 1, dtype=torch.float64)}, "torch.float64"),
        ({"x": torch.zeros(3, 1, 1, dtype=torch.int64)}, "torch.int64"),
        ({"threshold": 0.0}, "positive number, got 0.0"),
        ({"threshold": float("nan")}, "positive number, got nan"),
        ({"backend": "numbe"}, "did you mean 'numba'"),
        ({"backend": "cuda"}, "'cuda' does not run on cpu"),
    ],
)
def test_misfits_are_named(change: dict[str, object], said: str) -> None:
    given: dict[str, object] = {"x": torch.zeros(3, 1, 1), "start": torch.zeros(1, 1), "threshold": 1.0} | change
    with pytest.raises(InputError, match=said):
        send_on_delta(**given)  # type: ignore[arg-type]
