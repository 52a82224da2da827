"""Every engine is held to the reference loop: outputs bit for bit, gradients to rounding."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.reference import coefficients, reference_scan
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import SURROGATES, Surrogate
from neuro.kernels.scans.scan import ScanSpec, scan, scan_trace
from neuro.neurons import IF, LI, LIF, CuBaLIF

ADAPTIVE = Equations(
    "Adaptive",
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
BRANCHES = Equations(
    "Branches",
    """
    w' = exp(-dt/tau)*w + 0.1*Max(v, -1, w)
    v' = Abs(w') + Min(0.9*v + 0.2*x, v_top)
    spike when v > Max(0.5, w)
    reset value: v = dt/tau
    """,
    {"tau": Parameter(0.02, "s", positive=True), "v_top": Parameter(1.5, "V")},
)
ALL = (LIF.equations, CuBaLIF.equations, IF.equations, LI.equations, ADAPTIVE, BRANCHES)


@dataclass
class Problem:
    """Random inputs, states, per-neuron parameters and cotangents for one cell."""

    spec: ScanSpec
    dtype: torch.dtype = torch.float64
    shape: tuple[int, int, int] = (17, 3, 21)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(7)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=self.dtype)

        time, batch, neurons = self.shape
        self.x = draw(time, batch, neurons) * 6 + 2
        self.state = [draw(batch, neurons).abs() / 2 for _ in self.spec.equations.states]
        self.parameters = {
            name: p.default * (1 + 0.2 * draw(neurons).clamp(-2, 2)) + (0 if p.positive else 0.05)
            for name, p in self.spec.equations.parameters.items()
        }
        if self.spec.equations is IF.equations:  # an integrator without leak moves by dt * r * x a step
            self.parameters["r"] = self.parameters["r"] * 100
        self.cotangent = draw(time, batch, neurons)
        self.state_cotangent = [draw(batch, neurons) for _ in self.state]

    def run(self, backend: str, route: Route) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Outputs and final states; gradients by name."""
        x = self.x.clone().requires_grad_()
        state = [s.clone().requires_grad_() for s in self.state]
        values = {k: v.clone().requires_grad_() for k, v in self.parameters.items()}
        table = coefficients(self.spec.program, values, 1e-3)
        y, last = scan(self.spec, [x], state, table, route=route, backend=backend)
        loss = (y * self.cotangent).sum()
        loss = loss + sum(((s * c).sum() for s, c in zip(last, self.state_cotangent, strict=True)), torch.tensor(0.0))
        loss.backward()
        named = {"x": x, **{f"state {k}": s for k, s in enumerate(state)}, **values}
        zero = {n: torch.zeros_like(t) for n, t in named.items()}
        return [y, *last], {n: zero[n] if t.grad is None else t.grad for n, t in named.items()}

    def check(self, route: Route, tolerance: float) -> float:
        """Compare the fused kernel with the reference; returns the number of spikes seen."""
        expected, expected_grads = self.run("reference", route)
        actual, grads = self.run("numba", route)
        for want, got in zip(expected, actual, strict=True):
            assert torch.equal(want, got)
        for name, want in expected_grads.items():
            scale = max(want.abs().max().item(), 1e-12) if want.numel() else 1.0
            assert (want - grads[name]).abs().max().item() <= tolerance * scale if want.numel() else True, name
        return float((expected[0] != 0).sum())


def spec_of(equations: Equations, method: str = "euler", reset: str | None = None, family: str = "atan") -> ScanSpec:
    reset = equations.reset_kinds[0] if reset is None else reset
    return ScanSpec(equations, method, reset, Surrogate(family, 0.4, 0.9), frozenset(equations.parameters))


def variants() -> list[tuple[Equations, str, str]]:
    both = [
        (e, m) for e in ALL for m in ("euler", "exponential") if not (e in (ADAPTIVE, BRANCHES) and m == "exponential")
    ]
    return [(e, m, r) for e, m in both for r in (e.reset_kinds if e is LIF.equations else e.reset_kinds[:1])]


@pytest.mark.parametrize(
    ("equations", "method", "reset"), variants(), ids=lambda v: v.name if isinstance(v, Equations) else v
)
def test_kernel_equals_reference(equations: Equations, method: str, reset: str) -> None:
    active = Problem(spec_of(equations, method, reset)).check(Route(), 1e-12)
    assert active > 20


@pytest.mark.parametrize("route", [Route(cut_time=True), Route(cut_reset=False)], ids=["sltt", "whole"])
@pytest.mark.parametrize("equations", [LIF.equations, CuBaLIF.equations, ADAPTIVE], ids=lambda e: e.name)
def test_routes(equations: Equations, route: Route) -> None:
    Problem(spec_of(equations)).check(route, 1e-12)


@pytest.mark.parametrize("family", sorted(set(SURROGATES) - {"atan"}))
def test_surrogates(family: str) -> None:
    Problem(spec_of(LIF.equations, family=family)).check(Route(), 1e-12)


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (1, 5, 63), (3, 1, 1000), (2, 7, 40_000), (0, 2, 3), (4, 0, 3), (100, 64, 100)],
    ids=lambda s: "x".join(map(str, s)),
)
def test_ugly_sizes(shape: tuple[int, int, int]) -> None:
    Problem(spec_of(LIF.equations), torch.float32, shape).check(Route(), 2e-5)


def test_non_contiguous_input() -> None:
    spec = spec_of(LIF.equations)
    x = (torch.randn(21, 5, 3, dtype=torch.float64) * 6).permute(2, 1, 0)
    state = [torch.zeros(21, 5, dtype=torch.float64).T]
    problem = Problem(spec, shape=(3, 5, 21))
    table = coefficients(spec.program, problem.parameters, 1e-3)
    ours, _ = scan(spec, [x], state, table)
    assert torch.equal(ours, scan(spec, [x.contiguous()], state, table)[0])


@pytest.mark.parametrize("equations", [LIF.equations, CuBaLIF.equations], ids=lambda e: e.name)
@pytest.mark.parametrize("method", ["euler", "exponential"])
def test_reference_gradient_is_the_true_gradient_of_the_smooth_twin(equations: Equations, method: str) -> None:
    problem = Problem(spec_of(equations, method, family="gaussian"), shape=(4, 1, 3))
    names = list(problem.parameters)

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        state, values = rest[: len(problem.state)], dict(zip(names, rest[len(problem.state) :], strict=True))
        y, last, _ = reference_scan(
            problem.spec.program,
            [x],
            state,
            coefficients(problem.spec.program, values, 1e-3),
            surrogate=problem.spec.surrogate,
            route=Route(cut_reset=False),
            smooth=True,
        )
        return (y, *last)

    leaves = [problem.x / 6, *problem.state, *problem.parameters.values()]
    assert torch.autograd.gradcheck(run, [t.clone().requires_grad_() for t in leaves])


def test_any_number_of_threads_gives_the_same_bits() -> None:
    problem = Problem(spec_of(LIF.equations), torch.float32, (20, 50, 700))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = problem.run("numba", Route())
        torch.set_num_threads(3)
        three = problem.run("numba", Route())
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(one[0], three[0], strict=True))
    assert all(torch.equal(one[1][n], three[1][n]) for n in one[1])


def test_trace_holds_the_states_before_reset() -> None:
    problem = Problem(spec_of(CuBaLIF.equations))
    table = coefficients(problem.spec.program, problem.parameters, 1e-3)
    y, last, traces = scan_trace(problem.spec, [problem.x], problem.state, table)
    wanted, final, states = reference_scan(
        problem.spec.program, [problem.x], problem.state, table, surrogate=Surrogate(), route=Route()
    )
    assert torch.equal(y, wanted)
    assert torch.equal(traces["v"] > problem.parameters["v_threshold"], y > 0)
    assert torch.equal(traces["i"], states[0])
    assert torch.equal(traces["v"], states[1])
    assert all(torch.equal(a, b) for a, b in zip(last, final, strict=True))


def test_registered_op_passes_opcheck() -> None:
    problem = Problem(spec_of(LIF.equations), torch.float32, (5, 2, 7))
    table = torch.stack([c.expand(7) for c in coefficients(problem.spec.program, problem.parameters, 1e-3)])
    arguments = (
        [problem.x.requires_grad_()],
        torch.stack(problem.state).requires_grad_(),
        table.detach().requires_grad_(),
        problem.spec.to_text(),
        False,
        True,
        True,
    )
    for shared in ("", "osos"[: table.shape[0]].ljust(table.shape[0], "o"), "s" * table.shape[0]):
        torch.library.opcheck(torch.ops.neuro.scan.default, (*arguments, shared))


@pytest.mark.parametrize("own", [(), ("tau",), ("tau_a", "theta")])
@pytest.mark.parametrize("shape", [(17, 3, 21), (5, 2, 1), (1, 1, 63), (3, 0, 4), (2, 40, 1000)])
def test_coefficients_that_neurons_share(shape: tuple[int, int, int], own: tuple[str, ...]) -> None:
    """Shared by all (one long row a step), by none, and some of each; their gradients are sums over neurons."""
    problem = Problem(spec_of(ADAPTIVE), shape=shape)
    for name in set(problem.parameters) - set(own):
        problem.parameters[name] = problem.parameters[name][0].clone()
    problem.check(Route(cut_reset=False), 1e-11)


def test_number_of_threads_changes_no_bit_of_a_shared_gradient() -> None:
    problem = Problem(spec_of(ADAPTIVE), torch.float32, (3, 7, 9001))
    problem.parameters = {name: value[0].clone() for name, value in problem.parameters.items()}
    before = torch.get_num_threads()
    made = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            outputs, grads = problem.run("numba", Route())
            made.append([*outputs, *grads.values()])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": torch.zeros(3, 2)}, r"must be \[T, B, N\]"),
        ({"x": torch.zeros(3, 2, 5, dtype=torch.bfloat16)}, "float32 or float64"),
        ({"x": torch.zeros(3, 2, 5, dtype=torch.int64)}, "float32 or float64"),
        ({"state": [torch.zeros(3, 5)]}, r"state 'v' must be \[B, N\]"),
        ({"state": [torch.zeros(2, 5, dtype=torch.float64)]}, "convert one of them"),
        ({"state": []}, "1 inputs and 1 states"),
        ({"backend": "cuda"}, "does not run on cpu"),
        ({"backend": "nmba"}, "did you mean 'numba'"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, object], says: str) -> None:
    spec = spec_of(LIF.equations)
    values = {n: torch.tensor(p.default) for n, p in spec.equations.parameters.items()}
    given: dict[str, object] = {"x": torch.zeros(3, 2, 5), "state": [torch.zeros(2, 5)], "backend": "numba"} | change
    with pytest.raises(InputError, match=says):
        scan(
            spec,
            [given["x"]],  # type: ignore[list-item]
            given["state"],  # type: ignore[arg-type]
            coefficients(spec.program, values, 1e-3),
            backend=str(given["backend"]),
        )
