"""The fused scan of event-based gated units is its plain definition, forward and backward; bad input is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.scans.egru import egru_reference, egru_scan, run_backward, run_forward
from neuro.kernels.scans.egru_numba import backward_steps, forward_steps

SURROGATE = Surrogate("triangle", 0.8, 0.7)
SHAPES = [(9, 5, 7), (1, 1, 1), (3, 2, 63), (0, 3, 4), (2, 0, 4)]
ROUTES = (Route(cut_reset=False), Route(), Route(cut_time=True), Route(cut_recurrence=True, cut_reset=False))
ROUTE_IDS = ("whole", "reset", "time", "recurrence")


def problem(shape: tuple[int, int, int], dtype: torch.dtype = torch.float64, threshold: float = 0.2) -> list[Tensor]:
    """``drive, first, first_output, weight, bias, threshold``, all of which want gradients."""
    time, batch, n = shape
    g = torch.Generator().manual_seed(5)
    sizes = ((time, batch, 3 * n), (batch, n), (batch, n), (3 * n, n), (3 * n,), (n,))
    made = [torch.randn(size, generator=g, dtype=torch.float64) for size in sizes]
    made[0], made[3], made[4] = 2 * made[0], made[3] / n**0.5, made[4] / 4
    made[2] = made[2].relu()
    made[5] = threshold + 0.1 * made[5]
    return [t.to(dtype).requires_grad_() for t in made]


def gradients(made: tuple[Tensor, Tensor, Tensor], leaves: list[Tensor]) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(6)
    weights = [torch.randn(t.shape, generator=g, dtype=torch.float64).to(t.dtype) for t in made[:2]]
    loss = sum((w * t).sum() for w, t in zip(weights, made[:2], strict=True))
    assert isinstance(loss, Tensor)
    return torch.autograd.grad(loss, leaves, materialize_grads=True)


def near(a: Tensor, b: Tensor, tolerance: float) -> bool:
    if a.shape != b.shape or a.numel() == 0:
        return a.shape == b.shape
    return float((a - b).detach().abs().max()) <= tolerance * (1 + float(b.detach().abs().max()))


@pytest.mark.parametrize("route", ROUTES, ids=ROUTE_IDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_definition_forward_and_backward(shape: tuple[int, int, int], route: Route) -> None:
    tensors = problem(shape)
    made = egru_scan(*tensors, surrogate=SURROGATE, route=route)
    wanted = egru_scan(*tensors, surrogate=SURROGATE, route=route, backend="reference")
    assert all(near(a, b, 1e-13) for a, b in zip(made, wanted, strict=True))
    grads = gradients(made, tensors), gradients(wanted, tensors)
    assert all(near(a, b, 1e-10) for a, b in zip(*grads, strict=True))
    if shape[0] > 1 and shape[1]:
        assert 0.05 < float((made[0] != 0).double().mean()) < 0.95
        assert all(bool(g.any()) for g in grads[0][:1] + grads[0][3:])


@pytest.mark.parametrize(("threshold", "share"), [(9.0, 0.0), (-9.0, 1.0), (1.0, 0.1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_none_few_and_all_send_events_in_a_layer_large_enough_for_gathering(
    threshold: float, share: float, dtype: torch.dtype
) -> None:
    tensors = problem((4, 40, 100), dtype, threshold)
    tensors[2] = (tensors[2] * 0).detach().requires_grad_()
    tensors[0] = (3 * tensors[0]).detach().requires_grad_()
    made, wanted = (
        egru_scan(*tensors, surrogate=SURROGATE),
        egru_reference(*tensors, surrogate=SURROGATE, route=Route()),
    )
    tolerance = 1e-13 if dtype == torch.float64 else 3e-6
    assert near(made[0], wanted[0], tolerance)
    assert abs(float((made[0] != 0).double().mean()) - share) < 0.1
    grads = gradients(made, tensors), gradients(wanted, tensors)
    assert all(near(a, b, 100 * tolerance) for a, b in zip(*grads, strict=True))


def test_finite_differences_of_the_smooth_twin() -> None:
    """The definition with smooth events is differentiable; with hard ones its slopes are the kernel's (above)."""
    tensors = problem((3, 2, 3))
    smooth = Surrogate("atan", 0.9, 0.3)

    def twin(*leaves: Tensor) -> tuple[Tensor, Tensor]:
        return egru_reference(*leaves, surrogate=smooth, route=Route(cut_reset=False), smooth=True)[:2]

    assert torch.autograd.gradcheck(twin, tensors)
    made = egru_scan(*tensors, surrogate=smooth, route=Route(cut_reset=False))
    wanted = egru_reference(*tensors, surrogate=smooth, route=Route(cut_reset=False))
    assert all(near(a, b, 1e-12) for a, b in zip(gradients(made, tensors), gradients(wanted, tensors), strict=True))


def test_without_events_the_kernel_meets_finite_differences() -> None:
    tensors = problem((3, 2, 3), threshold=50.0)

    def scan(*leaves: Any) -> tuple[Tensor, Tensor]:
        given: Any = (*leaves, tensors[5].detach())
        return egru_scan(*given, surrogate=SURROGATE)[:2]

    assert torch.autograd.gradcheck(scan, tensors[:5])


def test_with_threshold_zero_it_is_a_gru_that_feeds_back_what_is_positive() -> None:
    torch.manual_seed(0)
    gru = torch.nn.GRUCell(4, 6, dtype=torch.float64)
    x = torch.randn(8, 3, 4, dtype=torch.float64)
    drive = x @ gru.weight_ih.t() + gru.bias_ih
    zero = torch.zeros(3, 6, dtype=torch.float64)
    given = (drive, zero, zero, gru.weight_hh, gru.bias_hh, torch.zeros(6, dtype=torch.float64))
    y, c, _ = egru_scan(*given, surrogate=SURROGATE)
    state = zero
    for t in range(8):
        r, z, n = drive[t].chunk(3, 1)
        h_r, h_z, h_n = (state.relu() @ gru.weight_hh.t() + gru.bias_hh).chunk(3, 1)
        gate = torch.sigmoid(z + h_z)
        state = gate * state + (1 - gate) * torch.tanh(n + torch.sigmoid(r + h_r) * h_n)
        assert near(y[t], state.relu(), 1e-13)
        if t == 0:  # nothing was fed back yet: torch's own cell
            assert near(state, gru(x[0], zero), 1e-13)
    assert near(c, state, 1e-13)


def test_pieces_are_the_whole_and_samples_do_not_see_each_other() -> None:
    tensors = problem((7, 4, 9))
    drive, first, output, *rest = tensors
    whole, last, _ = egru_scan(*tensors, surrogate=SURROGATE)
    a, state, _ = egru_scan(drive[:3], first, output, *rest, surrogate=SURROGATE)
    b, end, _ = egru_scan(drive[3:], state, a[-1], *rest, surrogate=SURROGATE)
    assert near(torch.cat([a, b]), whole, 1e-14)
    assert near(end, last, 1e-14)
    order = torch.tensor([2, 0, 3, 1])
    mixed = egru_scan(drive[:, order], first[order], output[order], *rest, surrogate=SURROGATE)[0]
    assert near(mixed, whole[:, order], 1e-14)


def test_inputs_that_are_not_contiguous() -> None:
    tensors = problem((4, 3, 5))
    strided = [t.detach().mT.contiguous().mT if t.dim() > 1 else t.detach() for t in tensors]
    strided = [t.requires_grad_() for t in strided]
    assert not strided[0].is_contiguous()
    made, again = (egru_scan(*given, surrogate=SURROGATE) for given in (tensors, strided))
    assert near(made[0], again[0], 1e-14)
    pairs = zip(gradients(made, tensors), gradients(again, strided), strict=True)
    assert all(near(a, b, 1e-13) for a, b in pairs)


def test_passes_opcheck_and_compiles_to_one_graph() -> None:
    tensors = problem((3, 2, 4))
    options: Any = ("triangle", 0.8, 0.7, [False, True, False], True)
    torch.library.opcheck(torch.ops.neuro.egru_scan.default, (*tensors, *options))
    expected = egru_scan(*tensors, surrogate=SURROGATE)
    torch.compiler.reset()
    compiled = torch.compile(lambda *t: egru_scan(*t, surrogate=SURROGATE), fullgraph=True, backend="aot_eager")
    made = compiled(*tensors)
    assert near(made[0], expected[0], 1e-14)
    pairs = zip(gradients(made, tensors), gradients(expected, tensors), strict=True)
    assert all(near(a, b, 1e-13) for a, b in pairs)


def test_loops_run_without_autograd_too_and_change_nothing_given() -> None:
    tensors: Any = [t.detach() for t in problem((3, 2, 4))]
    kept = [t.clone() for t in tensors]
    whole: Any = (*tensors, True)
    out, _, seen, gates = run_forward(forward_steps, *whole)
    assert (seen.shape, gates.shape) == ((3, 2, 4), (3, 2, 16))
    _, first, output, weight, _, threshold = tensors
    grad = torch.ones_like(out)
    given = (grad, torch.ones_like(first), first, output, weight, threshold, out, seen, gates)
    made = run_backward(backward_steps, *given, SURROGATE, Route())
    assert made[0].shape == (3, 2, 12)
    assert bool((grad == 1).all())
    assert all(torch.equal(a, b) for a, b in zip(kept, tensors, strict=True))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({0: torch.zeros(3, 12)}, r"drive must be \[T, B, 3N\]"),
        ({0: torch.zeros(3, 2, 13)}, r"drive must be \[T, B, 3N\]"),
        ({0: torch.zeros(3, 2, 12, dtype=torch.float16)}, "float32 or float64"),
        ({1: torch.zeros(3, 4)}, r"first must be \[2, 4\], got \[3, 4\]"),
        ({2: torch.zeros(2, 3)}, r"first_output must be \[2, 4\]"),
        ({3: torch.zeros(4, 12)}, r"weight must be \[12, 4\]"),
        ({4: torch.zeros(4)}, r"bias must be \[12\]"),
        ({5: torch.zeros(1)}, r"threshold must be \[4\]"),
        ({5: torch.zeros(4, dtype=torch.float64)}, "threshold torch.float64"),
        ({0: None}, "drive must be a tensor, got NoneType"),
    ],
)
def test_bad_input_is_refused(change: dict[int, Any], says: str) -> None:
    given: list[Any] = problem((3, 2, 4), torch.float32)
    for k, value in change.items():
        given[k] = value
    with pytest.raises(InputError, match=says):
        egru_scan(*given, surrogate=SURROGATE)


def test_a_backend_that_is_not_there_is_refused() -> None:
    given = problem((3, 2, 4), torch.float32)
    with pytest.raises(InputError, match="'cuda' does not run on cpu"):
        egru_scan(*given, surrogate=SURROGATE, backend="cuda")
    with pytest.raises(InputError, match="did you mean 'numba'"):
        egru_scan(*given, surrogate=SURROGATE, backend="numbas")
