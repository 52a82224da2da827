"""The fused liquid time-constant scan is its plain definition, forward and backward; bad input is refused."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.liquid.ltc import Reach, check_backend, check_elapsed, ltc_reference, ltc_scan

SHAPES = [(5, 19, 4, 7, 0.5), (1, 1, 1, 1, 1.0), (3, 16, 2, 9, 0.0), (0, 3, 2, 4, 1.0), (2, 0, 2, 4, 1.0)]
COLUMNS = (0, 1, 3, 4, 5)  # of the arguments, those with a gradient


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_definition_forward_and_backward(shape: Any, problems: Any) -> None:
    tensors, *reaches = problems.ltc(shape)
    out = ltc_scan(*tensors, *reaches, unfolds=4)
    wanted = ltc_reference(*tensors, *reaches, unfolds=4)
    assert problems.near(out, wanted, 1e-14)
    grads = problems.gradients(out, tensors), problems.gradients(wanted, tensors)
    assert all(problems.near(a, b, 1e-12) for a, b in zip(*grads, strict=True))
    assert shape[0] * shape[1] == 0 or all(bool(g.any()) or g.numel() == 0 or shape[4] == 0 for g in grads[0])


@pytest.mark.parametrize("size", [63, 100, 1000])
def test_ugly_numbers_of_neurons_in_single_precision(size: int, problems: Any) -> None:
    tensors, *reaches = problems.ltc((2, 3, 5, size, min(1.0, 20 / size)), torch.float32)
    out = ltc_scan(*tensors, *reaches)
    wanted, exact = ltc_reference(*tensors, *reaches), [t.detach().double() for t in tensors]
    assert problems.near(out, wanted, 1e-5)
    leaves = [t if k == 2 else t.requires_grad_() for k, t in enumerate(exact)]
    grads = problems.gradients(ltc_reference(*leaves, *reaches), leaves)
    made = problems.gradients(out, tensors)
    assert all(problems.near(a.double(), b, 3e-5) for a, b in zip(made, grads, strict=True))


def test_finite_differences(problems: Any) -> None:
    tensors, *reaches = problems.ltc((2, 2, 2, 3, 0.8))

    def scan(*leaves: Tensor) -> Tensor:
        whole = list(tensors)
        for k, leaf in zip(COLUMNS, leaves, strict=True):
            whole[k] = leaf
        return ltc_scan(*whole, *reaches, unfolds=3)

    assert torch.autograd.gradcheck(scan, [tensors[k] for k in COLUMNS])


def test_rows_that_are_not_contiguous_and_any_number_of_threads_give_the_same_bits(problems: Any) -> None:
    tensors, *reaches = problems.ltc((4, 40, 3, 6, 0.6))
    out = ltc_scan(*tensors, *reaches)
    grads = problems.gradients(out, tensors)
    strided = [t.detach().mT.contiguous().mT.requires_grad_(t.requires_grad) for t in tensors]
    assert not strided[0].is_contiguous()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        again = ltc_scan(*strided, *reaches)
        more = problems.gradients(again, strided)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(out, again)
    assert all(torch.equal(a, b) for a, b in zip(grads, more, strict=True))


def test_samples_do_not_see_each_other(problems: Any) -> None:
    tensors, *reaches = problems.ltc((4, 21, 3, 6, 0.6))
    out, order = ltc_scan(*tensors, *reaches), torch.randperm(21, generator=torch.Generator().manual_seed(0))
    mixed = [t[:, order] if k in (0, 2) else t[order] if k == 1 else t for k, t in enumerate(tensors)]
    assert torch.equal(ltc_scan(*mixed, *reaches), out[:, order])


def test_no_time_leaves_the_state_alone(problems: Any) -> None:
    tensors, *reaches = problems.ltc((3, 5, 2, 4, 1.0))
    tensors[2] = torch.zeros_like(tensors[2])
    out = ltc_scan(*tensors, *reaches)
    assert problems.near(out, tensors[1].expand_as(out), 1e-15)
    grads = problems.gradients(out, tensors)
    assert max(float(g.abs().max()) for g in grads[2:]) < 1e-14


def exact_solution(tensors: list[Tensor], reaches: list[Reach], time: float) -> Tensor:
    """The differential equation of the reference, by Runge and Kutta's method of fourth order with small steps."""
    x, v, _, neuron, synapses, sensory = tensors

    def slope(v: Tensor) -> Tensor:
        total = neuron[1] * (neuron[2] - v)
        for u, (mu, sigma, w, e), reach in ((v, synapses, reaches[0]), (x[0], sensory, reaches[1])):
            pre, post = reach.pre.long(), reach.post()
            flow = w * torch.sigmoid(sigma * (u[:, pre] - mu)) * (e - v[:, post])
            total = total.index_add(1, post, flow)
        return total / neuron[0]

    steps = 2000
    h = time / steps
    for _ in range(steps):
        a = slope(v)
        b = slope(v + h / 2 * a)
        c = slope(v + h / 2 * b)
        v = v + h / 6 * (a + 2 * b + 2 * c + slope(v + h * c))
    return v


def test_converges_to_the_differential_equation_at_first_order(problems: Any) -> None:
    tensors, *reaches = problems.ltc((1, 3, 4, 16, 0.8))
    tensors = [t.detach() for t in tensors]
    tensors[2] = torch.full((1, 3), 0.1, dtype=torch.float64)
    exact = exact_solution(tensors, reaches, 0.1)
    errors = [float((ltc_scan(*tensors, *reaches, unfolds=n)[0] - exact).abs().max()) for n in (6, 48, 384)]
    orders = [torch.log2(torch.tensor(a / b)) / 3 for a, b in pairwise(errors)]
    assert all(0.95 < float(order) < 1.05 for order in orders), (errors, orders)


def test_bounded_whatever_comes_and_however_long_the_step(problems: Any) -> None:
    tensors, *reaches = problems.ltc((8, 17, 4, 12, 0.7))
    tensors = [t.detach() for t in tensors]
    tensors[0] *= 1e6
    tensors[2] = torch.tensor([1e-3, 1.0, 50.0, 1e6], dtype=torch.float64).repeat(2).unsqueeze(1).repeat(1, 17)
    out = ltc_scan(*tensors, *reaches)
    ends = [tensors[3][2], tensors[4][3], tensors[5][3]]
    low = torch.cat([*ends, tensors[1].amin().reshape(1)]).min()
    high = torch.cat([*ends, tensors[1].amax().reshape(1)]).max()
    assert bool((out >= low - 1e-12).all())
    assert bool((out <= high + 1e-12).all())
    last = torch.cat(ends)
    assert float(last.min()) - 1e-5 <= float(out[-1].min()) <= float(out[-1].max()) <= float(last.max()) + 1e-5


def test_passes_opcheck_and_compiles_to_one_graph(problems: Any) -> None:
    tensors, *reaches = problems.ltc((3, 2, 2, 4, 0.8))
    given = (*tensors, *reaches[0], *reaches[1], 2)
    torch.library.opcheck(torch.ops.neuro.ltc_scan.default, given)
    expected = ltc_scan(*tensors, *reaches, unfolds=2)
    torch.compiler.reset()
    compiled = torch.compile(lambda *t: ltc_scan(*t, *reaches, unfolds=2) * 2, fullgraph=True, backend="aot_eager")
    made = compiled(*tensors)
    assert problems.near(made, 2 * expected, 1e-14)
    grads = problems.gradients(made, tensors), problems.gradients(2 * expected, tensors)
    assert all(problems.near(a, b, 1e-13) for a, b in zip(*grads, strict=True))


def test_reach_lists_synapses_by_neuron() -> None:
    reach = Reach.of(torch.tensor([[1, 0, -1], [0, 0, 1]]))
    assert (reach.start.tolist(), reach.pre.tolist(), reach.post().tolist()) == ([0, 1, 1, 3], [0, 0, 1], [0, 2, 2])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({0: torch.zeros(3, 4)}, r"x must be \[T, B, I\]"),
        ({0: torch.zeros(3, 2, 2, dtype=torch.int64)}, "float32 or float64"),
        ({1: torch.zeros(3, 4)}, r"first must be \[B, N\] with B = 2"),
        ({2: torch.ones(2, 3)}, r"elapsed must be \[3, 2\], got \[2, 3\]"),
        ({2: -torch.ones(3, 2)}, "elapsed time must be finite and from 0 on, got a smallest of -1.0"),
        ({2: torch.full((3, 2), float("nan"))}, "elapsed time must be finite"),
        ({2: torch.ones(3, 2).requires_grad_()}, "no gradient here"),
        ({3: torch.zeros(3, 4)}, "capacitances"),
        ({3: torch.ones(3, 4, dtype=torch.float64)}, "neuron torch.float64"),
        ({4: torch.ones(4, 3)}, "synapses must be"),
        ({5: torch.ones(3, 8)}, "sensory must be"),
        ({6: Reach(torch.tensor([0, 2, 1, 16, 16]), torch.zeros(16, dtype=torch.int32))}, "start must rise"),
        ({6: Reach(torch.tensor([0, 4, 8, 12, 16]), torch.full((16,), 4, dtype=torch.int32))}, r"in 0..3, got 4..4"),
        ({7: Reach(torch.tensor([0, 2, 4, 6, 8]), torch.full((8,), -1, dtype=torch.int32))}, r"in 0..1, got -1..-1"),
        ({7: Reach(torch.tensor([0, 8]), torch.zeros(8, dtype=torch.int32))}, r"start \[5\] int64"),
    ],
)
def test_bad_input_is_refused(change: dict[int, Any], says: str, problems: Any) -> None:
    tensors, *reaches = problems.ltc((3, 2, 2, 4, 1.0), torch.float32)
    given = [*tensors, *reaches]
    for k, value in change.items():
        given[k] = value
    with pytest.raises(InputError, match=says):
        ltc_scan(*given)


def test_bad_options_are_refused(problems: Any) -> None:
    tensors, *reaches = problems.ltc((3, 2, 2, 4, 1.0), torch.float32)
    with pytest.raises(InputError, match="unfolds must be an integer from 1 on, got 0"):
        ltc_scan(*tensors, *reaches, unfolds=0)
    with pytest.raises(InputError, match="'cuda' does not run on cpu"):
        ltc_scan(*tensors, *reaches, backend="cuda")
    with pytest.raises(InputError, match="unknown backend 'nunba'"):
        check_backend("nunba", tensors[0])
    check_elapsed(torch.zeros(0, 3))
    assert torch.equal(ltc_scan(*tensors, *reaches, backend="reference"), ltc_reference(*tensors, *reaches))
