"""The recurrent scan with delays is held to the plain torch loop: outputs equal, gradients to rounding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.compiler.equations import SPIKE, Equations, Parameter
from neuro.kernels.compiler.reference import coefficients
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.scans.recurrent import recurrent_scan
from neuro.kernels.scans.recurrent_delayed import (
    delayed_bank,
    delayed_recurrent_reference,
    delayed_recurrent_scan,
    delayed_recurrent_trace,
)
from neuro.kernels.scans.scan import ScanSpec
from neuro.neurons import LIF, CuBaLIF

GRADED = Equations(
    "GradedDelayed",
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


def spec_of(equations: Equations, family: str = "atan") -> ScanSpec:
    learned = frozenset(equations.parameters)
    return ScanSpec(equations, "euler", equations.reset_kinds[0], Surrogate(family, 0.4, 0.9), learned)


@dataclass
class Problem:
    """A random population; weights and currents in steps of 1/64, so that sums are exact in any order."""

    spec: ScanSpec
    shape: tuple[int, int, int] = (14, 5, 13)
    lags: int = 4
    rounded: bool = False
    dtype: torch.dtype = torch.float64
    drive: float = 20.0
    leaves: dict[str, Tensor] = field(init=False)
    steps: Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(3)

        def draw(*shape: int, scale: float = 1.0) -> Tensor:
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64) * scale
            return (torch.round(drawn * 64) / 64).to(self.dtype)

        _, batch, neurons = self.shape
        table = (neurons, neurons) if self.rounded else (self.lags, neurons, neurons)
        self.leaves = {"x": draw(*self.shape, scale=self.drive) + self.drive / 4}
        self.leaves |= {s: draw(batch, neurons, scale=0.3) for s in self.spec.program.states}
        self.leaves |= {"table": draw(*table, scale=self.drive / max(1, neurons) ** 0.5)}
        self.leaves |= {"before": (draw(self.lags, batch, neurons) > 0.5).to(self.dtype)}
        self.leaves |= {
            f"p {n}": (p.default * (1 + 0.1 * draw(neurons).clamp(-2, 2))).to(self.dtype)
            for n, p in self.spec.equations.parameters.items()
        }
        self.cotangent, self.last_cotangent = draw(*self.shape), draw(batch, neurons)
        lags = torch.randint(1, self.lags + 1, (neurons, neurons), generator=generator, dtype=torch.int32)
        self.steps = lags if self.rounded else None

    def call(self, leaves: dict[str, Tensor], **options: Any) -> tuple[Tensor, list[Tensor]]:
        state = [leaves[s] for s in self.spec.program.states]
        values = coefficients(self.spec.program, {n[2:]: t for n, t in leaves.items() if n.startswith("p ")}, 1e-3)
        given = (leaves["x"], state, values, leaves["table"], leaves["before"])
        return delayed_recurrent_scan(self.spec, *given, steps=self.steps, **options)

    def loss(self, y: Tensor, last: list[Tensor]) -> Tensor:
        return (y * self.cotangent).sum() + sum((s * self.last_cotangent).sum() for s in last)

    def run(self, **options: Any) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Output and final states; gradients by name."""
        leaves = {n: t.clone().requires_grad_() for n, t in self.leaves.items()}
        y, last = self.call(leaves, **options)
        grads = torch.autograd.grad(self.loss(y, last), list(leaves.values()), allow_unused=True)
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


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("equations", [LIF.equations, GRADED])
def test_kernel_equals_reference(equations: Equations, rounded: bool) -> None:
    assert Problem(spec_of(equations), rounded=rounded).check(1e-12) > 0.05


@pytest.mark.parametrize(
    "route", [Route(cut_recurrence=True), Route(cut_time=True), Route(cut_reset=False)], ids=["e-prop", "sltt", "reset"]
)
def test_routes(route: Route) -> None:
    problem = Problem(spec_of(LIF.equations))
    problem.check(1e-12, route=route)
    if route.cut_recurrence:
        grads = problem.run(route=route)[1]
        assert not grads["before"].any()
        assert bool(grads["table"].any())


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize(
    ("shape", "lags"),
    [((1, 1, 1), 1), ((1, 3, 63), 2), ((3, 2, 100), 5), ((2, 9, 4), 7), ((0, 2, 3), 2), ((3, 0, 4), 2), ((2, 3, 0), 3)],
    ids=str,
)
def test_ugly_sizes(shape: tuple[int, int, int], lags: int, rounded: bool) -> None:
    Problem(spec_of(LIF.equations), shape, lags, rounded).check(1e-12)


@pytest.mark.parametrize(("drive", "share"), [(-100.0, 0.0), (400.0, 1.0)])
def test_no_and_full_activity(drive: float, share: float) -> None:
    problem = Problem(spec_of(LIF.equations))
    problem.leaves["x"], problem.leaves["table"] = torch.full((14, 5, 13), drive), problem.leaves["table"] * 0
    problem.leaves["x"] = problem.leaves["x"].double()
    assert problem.check(1e-12) == share


def test_single_precision_and_strides() -> None:
    problem = Problem(spec_of(LIF.equations), dtype=torch.float32)
    assert problem.check(1e-4) > 0.05
    wide = problem.leaves["x"].repeat_interleave(2, dim=2)[:, :, ::2]
    assert torch.equal(problem.call(problem.leaves | {"x": wide})[0], problem.call(problem.leaves)[0])


def test_one_lag_is_the_scan_with_one_step_of_delay() -> None:
    problem = Problem(spec_of(CuBaLIF.equations), lags=1)
    leaves = problem.leaves
    values = coefficients(problem.spec.program, {n[2:]: t for n, t in leaves.items() if n.startswith("p ")}, 1e-3)
    state = [leaves[s] for s in problem.spec.program.states]
    given = (leaves["x"], state, values, leaves["table"][0].t(), leaves["before"][0])
    assert torch.equal(recurrent_scan(problem.spec, *given)[0], problem.call(leaves)[0])


def test_whole_delays_are_a_bank_of_them_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(1)
    problem = Problem(spec_of(GRADED), rounded=True)
    assert problem.steps is not None
    leaves = problem.leaves | {"table": torch.randn(13, 13, generator=generator, dtype=torch.float64)}
    y, last = problem.call(leaves)
    bank = delayed_bank(leaves["table"], problem.steps, 4)
    problem.steps = None
    banked, end = problem.call(leaves | {"table": bank})
    assert torch.equal(y, banked)
    assert all(torch.equal(a, b) for a, b in zip(last, end, strict=True))


@pytest.mark.parametrize("rounded", [False, True])
def test_pieces_and_threads_change_no_bit(rounded: bool) -> None:
    problem = Problem(spec_of(LIF.equations), (20, 19, 13), rounded=rounded)
    leaves = problem.leaves | {"table": problem.leaves["table"] * 0.7}
    whole, _ = problem.call(leaves)
    for cut in (1, 3, 11):
        first, state = problem.call(leaves | {"x": leaves["x"][:cut]})
        before = torch.cat([leaves["before"], first])[-4:]
        later = leaves | {"x": leaves["x"][cut:], "before": before, "v": state[0]}
        assert torch.equal(torch.cat([first, problem.call(later)[0]]), whole)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if threads == 1 else 1)
        assert torch.equal(problem.call(leaves)[0], whole)
    finally:
        torch.set_num_threads(threads)


def test_reference_gradients_by_finite_differences_of_the_smooth_twin() -> None:
    problem = Problem(spec_of(LIF.equations, "atan"), (6, 2, 3), 3)
    names = [n for n in problem.leaves if n != "p v_threshold"]

    def twin(*values: Tensor) -> Tensor:
        leaves = problem.leaves | dict(zip(names, values, strict=True))
        values_ = coefficients(problem.spec.program, {n[2:]: t for n, t in leaves.items() if n.startswith("p ")}, 1e-3)
        given = (leaves["x"], [leaves["v"]], values_, leaves["table"], leaves["before"])
        route = Route(cut_reset=False)
        options: Any = {"surrogate": problem.spec.surrogate, "route": route, "smooth": True}
        return problem.loss(*delayed_recurrent_reference(problem.spec.program, *given, **options))

    assert torch.autograd.gradcheck(twin, [problem.leaves[n].clone().requires_grad_() for n in names], atol=1e-6)


@pytest.mark.parametrize("rounded", [False, True])
def test_operator_is_sound(rounded: bool) -> None:
    problem = Problem(spec_of(LIF.equations), (5, 2, 4), 3, rounded)
    spec, leaves = problem.spec, {n: t.clone().requires_grad_() for n, t in problem.leaves.items()}
    values = coefficients(spec.program, {n[2:]: t.detach() for n, t in leaves.items() if n.startswith("p ")}, 1e-3)
    table = torch.stack([v.expand(4) for v in values]).requires_grad_()
    steps = problem.steps if problem.steps is not None else torch.empty((0, 0), dtype=torch.int32)
    cuts = [False, True, False]
    given = (
        leaves["x"],
        leaves["v"].detach().unsqueeze(0).requires_grad_(),
        table,
        leaves["table"],
        steps,
        leaves["before"],
    )
    operator = torch.ops.neuro.delayed_recurrent_scan.default
    torch.library.opcheck(operator, (*given, spec.to_text(), cuts, True, ""))


def test_trace_is_the_membrane_before_the_reset() -> None:
    problem = Problem(spec_of(LIF.equations))
    values = coefficients(
        problem.spec.program, {n[2:]: t for n, t in problem.leaves.items() if n.startswith("p ")}, 1e-3
    )
    given = (problem.leaves["x"], [problem.leaves["v"]], values, problem.leaves["table"], problem.leaves["before"])
    y, last, states = delayed_recurrent_trace(problem.spec, *given)
    expected, end = problem.call(problem.leaves)
    assert torch.equal(y, expected)
    assert torch.equal(last[0], end[0])
    assert torch.equal((states["v"] > problem.leaves["p v_threshold"]).double(), y)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"steps": torch.full((13, 13), 5, dtype=torch.int32)},
            r"delays must be in 1..4 steps, which are held, got 5..5",
        ),
        ({"steps": torch.zeros((13, 13), dtype=torch.int32)}, r"got 0..0"),
        ({"steps": torch.ones((13, 13), dtype=torch.int64)}, r"int32 steps \[N, N\]"),
        ({"table": torch.zeros(3, 13, 13, dtype=torch.float64)}, r"table must be \[D, N, N\] = \[4, 13, 13\]"),
        ({"before": torch.zeros(0, 5, 13, dtype=torch.float64)}, "D at least 1"),
        ({"before": torch.zeros(4, 5, 13)}, r"before is torch.float32 .*convert one with .to\(\)"),
    ],
)
def test_bad_input_is_named(changes: dict[str, Tensor], says: str) -> None:
    problem = Problem(spec_of(LIF.equations), rounded="steps" in changes)
    problem.steps = changes.get("steps")
    with pytest.raises(InputError, match=says):
        problem.call(problem.leaves | {n: t for n, t in changes.items() if n != "steps"})


def test_a_cell_with_two_inputs_is_refused() -> None:
    two = Equations("Two", "dv/dt = (x + w - v) / tau\noutput v", {"tau": Parameter(0.02, "s", True)}, ("x", "w"))
    spec = ScanSpec(two, "euler", "none")
    with pytest.raises(InputError, match="takes a cell with one"):
        delayed_recurrent_scan(
            spec,
            torch.zeros(3, 2, 5),
            [torch.zeros(2, 5)],
            [torch.ones(())],
            torch.zeros(4, 5, 5),
            torch.zeros(4, 2, 5),
        )
