"""The fused closed-form scan is its plain definition, forward and backward; bad input is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.liquid.cfc import MODES, cfc_reference, cfc_scan, run_backward, run_forward
from neuro.kernels.liquid.cfc_numba import backward_steps, forward_steps

SHAPES = [(5, 19, 6, 7), (1, 1, 1, 1), (3, 4, 63, 100), (0, 3, 2, 4), (2, 0, 2, 4)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_definition_forward_and_backward(shape: Any, mode: str, problems: Any) -> None:
    tensors = problems.cfc(shape, mode)
    out, wanted = cfc_scan(*tensors, mode=mode), cfc_reference(*tensors, mode=mode)
    assert problems.near(out, wanted, 1e-13)
    with torch.no_grad():  # nothing is kept: another path through the buffers
        assert problems.near(cfc_scan(*tensors, mode=mode), wanted, 1e-13)
    grads = problems.gradients(out, tensors), problems.gradients(wanted, tensors)
    assert all(problems.near(a, b, 1e-12) for a, b in zip(*grads, strict=True))
    assert shape[0] * shape[1] == 0 or all(bool(g.any()) or g.numel() == 0 for g in grads[0])


def test_a_thousand_neurons_in_single_precision(problems: Any) -> None:
    tensors = [
        t / (10 if k in (3, 4) else 1) for k, t in enumerate(problems.cfc((3, 3, 64, 1000), dtype=torch.float32))
    ]
    tensors = [t.detach() if k == 2 else t.detach().requires_grad_() for k, t in enumerate(tensors)]
    out, wanted = cfc_scan(*tensors), cfc_reference(*tensors)
    assert problems.near(out, wanted, 1e-5)
    grads = problems.gradients(out, tensors), problems.gradients(wanted, tensors)
    assert all(problems.near(a, b, 1e-4) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("mode", MODES)
def test_finite_differences(mode: str, problems: Any) -> None:
    tensors = problems.cfc((2, 2, 3, 2), mode)
    leaves = problems.leaves(tensors)

    def scan(*leaves: Tensor) -> Tensor:
        return cfc_scan(leaves[0], leaves[1], tensors[2], *leaves[2:], mode=mode)

    assert torch.autograd.gradcheck(scan, leaves)


def test_inputs_that_are_not_contiguous(problems: Any) -> None:
    tensors = problems.cfc((4, 3, 5, 6), "pure")
    strided = [t.detach().mT.contiguous().mT if t.dim() > 1 else t.detach() for t in tensors]
    strided = [t.requires_grad_(k != 2) for k, t in enumerate(strided)]
    assert not strided[0].is_contiguous()
    out, again = cfc_scan(*tensors, mode="pure"), cfc_scan(*strided, mode="pure")
    assert problems.near(out, again, 1e-14)
    grads = problems.gradients(out, tensors), problems.gradients(again, strided)
    assert all(problems.near(a, b, 1e-13) for a, b in zip(*grads, strict=True))


def test_pure_without_elapsed_time(problems: Any) -> None:
    tensors = problems.cfc((1, 3, 4, 5), "pure")
    drive, first, _, w_state, w_heads, b_heads, extra = tensors
    out = cfc_scan(drive, first, torch.zeros(1, 3, dtype=torch.float64), *tensors[3:], mode="pure")
    z = 1.7159 * torch.tanh(0.666 * (drive[0] + first @ w_state.t()))
    assert problems.near(out[0], extra[1] * (1 - (z @ w_heads.t() + b_heads)), 1e-14)


def test_samples_do_not_see_each_other(problems: Any) -> None:
    tensors = problems.cfc((4, 5, 3, 6))
    order = torch.tensor([3, 1, 4, 0, 2])
    mixed = [t[:, order] if k in (0, 2) else t[order] if k == 1 else t for k, t in enumerate(tensors)]
    assert problems.near(cfc_scan(*mixed), cfc_scan(*tensors)[:, order], 1e-14)


@pytest.mark.parametrize("mode", ["no_gate", "pure"])
def test_passes_opcheck_and_compiles_to_one_graph(mode: str, problems: Any) -> None:
    tensors = problems.cfc((3, 2, 2, 4), mode)
    torch.library.opcheck(torch.ops.neuro.cfc_scan.default, (*tensors, MODES.index(mode), True))
    expected = cfc_scan(*tensors, mode=mode)
    torch.compiler.reset()
    made = torch.compile(lambda *t: cfc_scan(*t, mode=mode) * 2, fullgraph=True, backend="aot_eager")(*tensors)
    assert problems.near(made, 2 * expected, 1e-14)
    grads = problems.gradients(made, tensors), problems.gradients(2 * expected, tensors)
    assert all(problems.near(a, b, 1e-13) for a, b in zip(*grads, strict=True))


def test_loops_run_without_autograd_too(problems: Any) -> None:
    tensors = [t.detach() for t in problems.cfc((3, 2, 4, 5))]
    given: Any = (forward_steps, *tensors, 0, True)
    out, z, heads = run_forward(*given)
    assert (z.shape, heads.shape) == ((3, 2, 4), (3, 2, 20))
    kept = [t.clone() for t in (out, z, heads)]
    grad = torch.ones_like(out)
    _, first, elapsed, w_state, w_heads, _, extra = tensors
    made = run_backward(backward_steps, grad, first, elapsed, w_state, w_heads, extra, out, z, heads, 0)
    assert all(torch.equal(a, b) for a, b in zip(kept, (out, z, heads), strict=True))
    assert bool((grad == 1).all())
    assert made[0].shape == (3, 2, 4)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({0: torch.zeros(3, 4)}, r"drive must be \[T, B, H\]"),
        ({0: torch.zeros(3, 2, 5, dtype=torch.float16)}, "float32 or float64"),
        ({1: torch.zeros(3, 4)}, r"first must be \[B, N\] with B = 2"),
        ({2: torch.ones(3)}, r"elapsed must be \[3, 2\], got \[3\]"),
        ({2: -torch.ones(3, 2)}, "got a smallest of -1.0"),
        ({3: torch.zeros(4, 5)}, r"w_state must be \[5, 4\]"),
        ({4: torch.zeros(4, 5)}, r"w_heads must be \[16, 5\]"),
        ({5: torch.zeros(4)}, r"b_heads must be \[16\]"),
        ({6: torch.zeros(2, 4)}, r"extra must be \[0, 4\]"),
        ({4: torch.zeros(16, 5, dtype=torch.float64)}, "w_heads torch.float64"),
    ],
)
def test_bad_input_is_refused(change: dict[int, Tensor], says: str, problems: Any) -> None:
    given = problems.cfc((3, 2, 5, 4), dtype=torch.float32)
    for k, value in change.items():
        given[k] = value
    with pytest.raises(InputError, match=says):
        cfc_scan(*given)


def test_bad_options_are_refused(problems: Any) -> None:
    given = problems.cfc((3, 2, 5, 4), dtype=torch.float32)
    with pytest.raises(InputError, match="unknown mode 'nogate'; did you mean 'no_gate'"):
        cfc_scan(*given, mode="nogate")
    with pytest.raises(InputError, match="'cuda' does not run on cpu"):
        cfc_scan(*given, backend="cuda")
    assert torch.equal(cfc_scan(*given, backend="reference"), cfc_reference(*given))
