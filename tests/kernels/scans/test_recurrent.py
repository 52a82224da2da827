"""The fused recurrent scan is held to the plain torch loop: outputs equal, gradients to rounding."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.compiler.equations import SPIKE, Equations, Parameter
from neuro.kernels.compiler.reference import coefficients
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.scans.recurrent import recurrent_reference, recurrent_scan, recurrent_trace
from neuro.kernels.scans.scan import ScanSpec, scan
from neuro.neurons import IF, LI, LIF, CuBaLIF

GRADED = Equations(
    "Graded",
    """
    dv/dt = (x - v - a) / tau
    da/dt = -a / tau_a
    spike when v > theta + a*a
    reset value: v = -0.1*v
    reset value: a = a + b
    output z*v
    """,
    {
        "tau": Parameter(0.02, "s", positive=True),
        "tau_a": Parameter(0.1, "s", positive=True),
        "theta": Parameter(0.8, "V"),
        "b": Parameter(0.1, "V"),
    },
)
ROUTES = (
    Route(),
    Route(cut_recurrence=True),
    Route(cut_time=True),
    Route(cut_reset=False),
    Route(cut_time=True, cut_reset=False, cut_recurrence=True),
)


def spec_of(equations: Equations, learned: bool = True, family: str = "atan") -> ScanSpec:
    names = frozenset(equations.parameters) if learned else frozenset[str]()
    return ScanSpec(equations, "euler", equations.reset_kinds[0], Surrogate(family, 0.4, 0.9), names)


@dataclass
class Problem:
    """A random population; weights and currents in steps of 1/64, so that sums are exact in any order."""

    spec: ScanSpec
    shape: tuple[int, int, int] = (9, 5, 13)
    dtype: torch.dtype = torch.float64
    drive: float = 20.0
    leaves: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(3)

        def draw(*shape: int, scale: float = 1.0) -> Tensor:
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64) * scale
            return (torch.round(drawn * 64) / 64).to(self.dtype)

        _, batch, neurons = self.shape
        equations = self.spec.equations
        if equations is IF.equations:
            self.drive *= 20
        self.leaves = {"x": draw(*self.shape, scale=self.drive) + self.drive / 4}
        self.leaves |= {s: draw(batch, neurons, scale=0.3) for s in self.spec.program.states}
        self.leaves |= {"weight": draw(neurons, neurons, scale=self.drive / max(1, neurons) ** 0.5)}
        self.leaves |= {"first": (draw(batch, neurons) > 0.5).to(self.dtype)}
        self.leaves |= {
            f"p {n}": (p.default * (1 + 0.1 * draw(neurons).clamp(-2, 2))).to(self.dtype)
            for n, p in equations.parameters.items()
        }
        self.cotangent = draw(*self.shape)
        self.last_cotangent = draw(batch, neurons)

    def call(self, leaves: dict[str, Tensor], **options: Any) -> tuple[Tensor, list[Tensor]]:
        state = [leaves[s] for s in self.spec.program.states]
        values = {n[2:]: t for n, t in leaves.items() if n.startswith("p ")}
        table = coefficients(self.spec.program, values, 1e-3)
        return recurrent_scan(self.spec, leaves["x"], state, table, leaves["weight"], leaves["first"], **options)

    def run(self, **options: Any) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Output and final states; gradients by name."""
        leaves = {n: t.clone().requires_grad_() for n, t in self.leaves.items()}
        y, last = self.call(leaves, **options)
        loss = (y * self.cotangent).sum()
        for s in last:
            loss = loss + (s * self.last_cotangent).sum()
        grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        pairs = zip(leaves.items(), grads, strict=True)
        return [y.detach(), *(s.detach() for s in last)], {
            n: torch.zeros_like(t) if g is None else g for (n, t), g in pairs
        }

    def check(self, tolerance: float, **options: Any) -> float:
        """Compare with the reference; returns the share of outputs that are not zero."""
        expected, wanted = self.run(**{**options, "backend": "reference"})
        actual, grads = self.run(**options)
        exact = self.spec.program.output == SPIKE  # sums of graded outputs round differently
        for want, got in zip(expected, actual, strict=True):
            assert torch.equal(want, got) if exact else torch.allclose(want, got, rtol=1e-11, atol=1e-11)
        for name, grad in wanted.items():
            scale = max(float(grad.abs().max()), 1e-12) if grad.numel() else 1.0
            assert grad.numel() == 0 or float((grad - grads[name]).abs().max()) <= tolerance * scale, name
        return float((expected[0] != 0).double().mean()) if expected[0].numel() else 0.0


@pytest.mark.parametrize("equations", [LIF.equations, CuBaLIF.equations, IF.equations, LI.equations, GRADED])
def test_kernel_equals_reference(equations: Equations) -> None:
    assert Problem(spec_of(equations)).check(1e-12) > 0.05


@pytest.mark.parametrize("route", ROUTES, ids=repr)
@pytest.mark.parametrize("equations", [LIF.equations, GRADED])
def test_routes(equations: Equations, route: Route) -> None:
    Problem(spec_of(equations)).check(1e-12, route=route)


def test_cut_recurrence_is_autograd_with_the_fed_back_spikes_detached() -> None:
    """Step by step, with each step's fed-back spikes detached from the graph but still meeting the weight."""
    problem = Problem(spec_of(LIF.equations))
    _, grads = problem.run(route=Route(cut_recurrence=True))
    leaves = {n: t.clone().requires_grad_() for n, t in problem.leaves.items()}
    values = {n[2:]: t for n, t in leaves.items() if n.startswith("p ")}
    table = coefficients(problem.spec.program, values, 1e-3)
    y, state, outputs = leaves["first"], [leaves["v"]], []
    for x in leaves["x"].unbind(0):
        current = x + torch.einsum("bj,ij->bi", y.detach(), leaves["weight"])
        made, state = scan(problem.spec, [current.unsqueeze(0)], state, table, backend="reference")
        y = made[0]
        outputs.append(y)
    ((torch.stack(outputs) * problem.cotangent).sum() + (state[0] * problem.last_cotangent).sum()).backward()
    assert float(grads["first"].abs().max()) == 0
    assert float(grads["weight"].abs().max()) > 0
    for name in ("x", "v", "weight", "p tau"):
        wanted = leaves[name].grad
        assert wanted is not None
        assert torch.allclose(grads[name], wanted, rtol=1e-10, atol=1e-12), name
    whole = problem.run()[1]
    assert not torch.allclose(whole["x"], grads["x"])


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (1, 5, 63), (3, 1, 100), (6, 70, 9), (2, 3, 1000), (0, 2, 3), (4, 0, 3), (4, 3, 0)],
    ids=lambda s: "x".join(map(str, s)),
)
def test_ugly_sizes(shape: tuple[int, int, int]) -> None:
    Problem(spec_of(LIF.equations), shape, torch.float32).check(2e-5)


@pytest.mark.parametrize(("drive", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_no_activity_and_full_activity(drive: float, share: float) -> None:
    problem = Problem(spec_of(LIF.equations), drive=0.0)
    problem.leaves["x"] = torch.full_like(problem.leaves["x"], 100.0 * drive)
    problem.leaves["v"] = torch.zeros_like(problem.leaves["v"])
    problem.leaves["first"] = torch.full_like(problem.leaves["first"], drive)
    assert problem.check(1e-12) == share


def test_without_weights_it_is_the_plain_scan() -> None:
    problem = Problem(spec_of(LIF.equations))
    problem.leaves["weight"] = torch.zeros_like(problem.leaves["weight"])
    y, (v,) = problem.call(problem.leaves)
    values = {n[2:]: t for n, t in problem.leaves.items() if n.startswith("p ")}
    table = coefficients(problem.spec.program, values, 1e-3)
    wanted, (last,) = scan(problem.spec, [problem.leaves["x"]], [problem.leaves["v"]], table)
    assert torch.equal(y, wanted)
    assert torch.equal(v, last)


def test_layouts_do_not_matter() -> None:
    problem = Problem(spec_of(LIF.equations))
    wanted, _ = problem.call(problem.leaves)
    turned = {n: t.transpose(0, -1).contiguous().transpose(0, -1) for n, t in problem.leaves.items()}
    assert torch.equal(problem.call(turned)[0], wanted)


def test_surrogate_gradient_is_the_true_gradient_of_the_smooth_twin() -> None:
    problem = Problem(spec_of(LIF.equations, family="gaussian"), (4, 2, 3), drive=3.0)
    names = list(problem.leaves)

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        leaves = dict(zip(names, tensors, strict=True))
        values = {n[2:]: t for n, t in leaves.items() if n.startswith("p ")}
        table = coefficients(problem.spec.program, values, 1e-3)
        options: dict[str, Any] = {"surrogate": problem.spec.surrogate, "route": Route(cut_reset=False)}
        given = (leaves["x"], [leaves["v"]], table, leaves["weight"], leaves["first"])
        y, last = recurrent_reference(problem.spec.program, *given, **options, smooth=True)
        return (y, *last)

    assert torch.autograd.gradcheck(run, [t.clone().requires_grad_() for t in problem.leaves.values()])


def test_any_number_of_threads_and_any_batch_give_the_same_bits() -> None:
    problem = Problem(spec_of(LIF.equations), (12, 70, 130), torch.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = problem.run()
        torch.set_num_threads(3)
        three = problem.run()
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(one[0], three[0], strict=True))
    assert all(torch.equal(one[1][n], three[1][n]) for n in one[1])
    part = {n: t[:, 37:39] if n == "x" else t[37:39] if n in ("v", "first") else t for n, t in problem.leaves.items()}
    assert torch.equal(problem.call(part)[0], one[0][0][:, 37:39])


def test_trace_holds_the_states_before_reset() -> None:
    problem = Problem(replace(spec_of(CuBaLIF.equations), learned=frozenset()))
    leaves = problem.leaves
    values = {n[2:]: t for n, t in leaves.items() if n.startswith("p ")}
    table = coefficients(problem.spec.program, values, 1e-3)
    state = [leaves["i"], leaves["v"]]
    y, last, traces = recurrent_trace(problem.spec, leaves["x"], state, table, leaves["weight"], leaves["first"])
    wanted, final = problem.call(leaves)
    assert torch.equal(y, wanted)
    assert all(torch.equal(a, b) for a, b in zip(last, final, strict=True))
    assert torch.equal(traces["v"] > values["v_threshold"], y > 0)


def test_registered_op_passes_opcheck() -> None:
    problem = Problem(spec_of(LIF.equations), (4, 2, 7), torch.float32)
    leaves = {n: t.clone().requires_grad_() for n, t in problem.leaves.items()}
    values = {n[2:]: t for n, t in problem.leaves.items() if n.startswith("p ")}
    table = torch.stack([c.expand(7) for c in coefficients(problem.spec.program, values, 1e-3)]).requires_grad_()
    state = torch.stack([problem.leaves["v"]]).requires_grad_()
    given = (leaves["x"], state, table, leaves["weight"], leaves["first"], problem.spec.to_text())
    for shared in ("", "s" * table.shape[0]):
        torch.library.opcheck(torch.ops.neuro.recurrent_scan.default, (*given, [False, True, False], True, shared))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": torch.zeros(3, 5)}, r"must be \[T, B, N\]"),
        ({"x": 3}, "x must be a tensor, got int"),
        ({"weight": torch.zeros(5, 4)}, r"weight must be \[N, N\] = \(5, 5\)"),
        ({"weight": torch.zeros(5, 5, dtype=torch.float64)}, "weight is torch.float64"),
        ({"first_output": torch.zeros(1, 5)}, r"first_output must be \[B, N\] = \(2, 5\), got \(1, 5\)"),
        ({"state": [torch.zeros(3, 5)]}, r"state 'v' must be \[B, N\]"),
        ({"backend": "cuda"}, "does not run on cpu"),
        ({"backend": "nmba"}, "did you mean 'numba'"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], says: str) -> None:
    spec = spec_of(LIF.equations)
    values = {n: torch.tensor(p.default) for n, p in spec.equations.parameters.items()}
    given: dict[str, Any] = {"x": torch.zeros(3, 2, 5), "state": [torch.zeros(2, 5)], "weight": torch.zeros(5, 5)}
    with pytest.raises(InputError, match=says):
        recurrent_scan(spec, coefficients=coefficients(spec.program, values, 1e-3), **(given | change))


def test_a_cell_with_two_inputs_is_refused() -> None:
    two = Equations("Two", "dv/dt = (x + w - v) / tau\noutput v", {"tau": Parameter(0.02, "s", True)}, ("x", "w"))
    spec = ScanSpec(two, "euler", "none")
    with pytest.raises(InputError, match="takes a cell with one"):
        recurrent_scan(spec, torch.zeros(3, 2, 5), [torch.zeros(2, 5)], [torch.ones(())], torch.zeros(5, 5))
