"""Forward in time gives the gradient of backward in time, exactly where it should."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.reference import coefficients
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.scans.eligibility import Traces, eligibility, sweep_reference
from neuro.kernels.scans.recurrent import recurrent_scan
from neuro.kernels.scans.scan import ScanSpec, scan
from neuro.neurons import CELLS, LIF

SCALES = {"IF": 600.0, "AdEx": 5e-9, "Izhikevich": 100.0, "ResonateAndFire": 60.0, "ShortTermPlasticity": 0.3}
OWN = Equations(
    "Own",
    """
    di/dt = (x - i) / tau_syn
    dv/dt = (i - v - a) / tau
    da/dt = (0.4 * v - a) / tau_a
    spike when v > theta
    reset value: v = -0.1 * v
    reset value: a = a + 0.2
    output z * (1 + 0.3 * v)
    """,
    {
        "tau_syn": Parameter(0.005, "s", positive=True),
        "tau": Parameter(0.02, "s", positive=True),
        "tau_a": Parameter(0.1, "s", positive=True),
        "theta": Parameter(0.3, "V"),
    },
)


@dataclass
class Problem:
    """A layer that learns: weights, presynaptic activity, and a loss that is a sum over steps."""

    equations: Equations
    reset: str | None = None
    own: bool = True  # each neuron has parameters of its own
    sizes: tuple[int, int, int, int] = (70, 2, 5, 4)  # T, B, I, O
    learned: bool = True
    spec: ScanSpec = field(init=False)

    def __post_init__(self) -> None:
        g = torch.Generator().manual_seed(2)
        time, batch, inputs, neurons = self.sizes
        e = self.equations
        names = frozenset(e.parameters) if self.learned else frozenset[str]()
        self.spec = ScanSpec(e, "euler", self.reset or e.reset_kinds[0], Surrogate("atan", 0.5, 0.8), names)
        self.u = (torch.rand(time, batch, inputs, generator=g) < 0.4).double()
        scale = SCALES.get(e.name, 15.0)
        self.weight = torch.randn(neurons, inputs, generator=g, dtype=torch.float64).abs() * scale
        self.signal = torch.randn(time, batch, neurons, generator=g, dtype=torch.float64)
        size = (neurons,) if self.own else ()
        self.values = {
            n: p.default * (1 + 0.05 * torch.rand(size, generator=g, dtype=torch.float64))
            for n, p in e.parameters.items()
        }
        self.table = [c.detach() for c in coefficients(self.spec.program, self.values, 1e-3)]
        start = neuro.Cell.initial_state
        cell = type("Made", (neuro.Cell,), {"equations": e})(neurons, reset=self.spec.reset)
        self.state = [s.double() for s in start(cell, batch)]

    def backward(self, route: Route) -> tuple[Tensor, Tensor, Tensor]:
        """Output, gradient of the weights, and of the learned coefficients."""
        weight = self.weight.clone().requires_grad_()
        neurons = self.sizes[3]
        table = [c.expand(neurons).clone().requires_grad_() for c in self.table]
        y, _ = scan(self.spec, [self.u @ weight.t()], self.state, table, route=route)
        (y * self.signal).sum().backward()
        learned = [table[k].grad for k in self.spec.learned_coefficients]
        zero = torch.zeros(neurons, dtype=torch.float64)
        made = torch.stack([zero if t is None else t for t in learned]) if learned else zero.new_empty((0, neurons))
        assert weight.grad is not None
        return y.detach(), weight.grad, made

    def forward(self, route: Route, steps: int | None = None, **options: Any) -> tuple[Tensor, Tensor, Tensor, Traces]:
        state, traces, outputs, sums = self.state, None, [], [torch.zeros(()), torch.zeros(())]
        cut = [t.split(steps or len(self.u)) for t in (self.u @ self.weight.t(), self.u, self.signal)]
        for current, part, signal in zip(*cut, strict=True):
            made = eligibility(self.spec, current, part, signal, state, self.table, traces, route=route, **options)
            state, traces = made.state, made.traces
            outputs.append(made.output)
            sums = [sums[0] + made.weight_grad, sums[1] + made.coefficient_grad]
        assert traces is not None
        return torch.cat(outputs), sums[0], sums[1], traces

    def check(self, route: Route, **options: Any) -> float:
        """Compare; returns the largest gradient seen."""
        wanted, made = self.backward(route), self.forward(route, **options)
        assert torch.equal(made[0], wanted[0])
        for want, got in zip(wanted[1:], made[1:3], strict=True):
            assert want.shape == got.shape
            if want.numel():
                scale = float(want.abs().amax().clamp_min(1e-12))
                assert float((want - got).abs().max()) <= 1e-9 * scale
        return float(wanted[1].abs().max())


EVERY = [c.equations for c in CELLS.values()] + [OWN]


@pytest.mark.parametrize("equations", EVERY, ids=lambda e: e.name)
@pytest.mark.parametrize("route", [Route(), Route(cut_reset=False)], ids=("reset cut", "all edges"))
def test_forward_equals_backward_for_every_cell(equations: Equations, route: Route) -> None:
    problem = Problem(equations)
    assert problem.check(route) > 0
    if equations.drive is not None:
        assert problem.backward(route)[0].any()


@pytest.mark.parametrize("backend", ["reference", "numba"])
@pytest.mark.parametrize("route", [Route(), Route(cut_time=True)], ids=("all of time", "one step"))
@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("own", [False, True], ids=("shared", "own"))
def test_one_trace_for_all_synapses_where_that_is_the_same(own: bool, reset: str, route: Route, backend: str) -> None:
    problem = Problem(LIF.equations, reset, own)
    problem.check(route, backend=backend)
    traces = problem.forward(route, backend=backend)[3]
    assert traces.weight.dim() == (3 if reset == "subtract" and not own else 4)


@pytest.mark.parametrize("steps", [1, 9, 64])
def test_pieces_of_time_and_threads_change_nothing(steps: int) -> None:
    problem = Problem(OWN, sizes=(70, 3, 7, 19))
    whole = problem.forward(Route())
    parts = problem.forward(Route(), steps)
    assert torch.equal(parts[0], whole[0])
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(parts[1:3], whole[1:3], strict=True))
    assert torch.allclose(parts[3].weight, whole[3].weight, rtol=1e-12)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(problem.forward(Route())[1], whole[1])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "sizes", [(1, 1, 1, 1), (5, 1, 63, 1), (3, 2, 1, 100), (4, 0, 3, 2), (0, 2, 3, 2), (2, 2, 0, 3)]
)
def test_odd_sizes(sizes: tuple[int, int, int, int]) -> None:
    problem = Problem(OWN, sizes=sizes)
    made = problem.forward(Route())
    assert made[1].shape == (sizes[3], sizes[2])
    if all(sizes):
        problem.check(Route())


def test_symmetric_eprop_is_the_gradient_without_recurrent_edges() -> None:
    problem = Problem(OWN, learned=False)
    _, batch, inputs, neurons = problem.sizes
    g = torch.Generator().manual_seed(8)
    recurrent = (torch.randn(neurons, neurons, generator=g, dtype=torch.float64) * 8).requires_grad_()
    weight = problem.weight.clone().requires_grad_()
    drive = problem.u @ weight.t()
    silent = torch.zeros(batch, neurons, dtype=torch.float64)
    route = Route(cut_recurrence=True)
    y, _ = recurrent_scan(problem.spec, drive, problem.state, problem.table, recurrent, silent, route=route)
    (y * problem.signal).sum().backward()
    earlier = torch.cat([silent.unsqueeze(0), y.detach()[:-1]])
    current = drive.detach() + earlier @ recurrent.detach().t()
    both = torch.cat([problem.u, earlier], dim=2)
    made = eligibility(problem.spec, current, both, problem.signal, problem.state, problem.table)
    assert torch.allclose(made.output, y, rtol=1e-12)
    assert y.any()
    for got, leaf in zip(made.weight_grad.split((inputs, neurons), 1), (weight, recurrent), strict=True):
        assert leaf.grad is not None
        assert float((got - leaf.grad).abs().max()) <= 1e-9 * float(leaf.grad.abs().max())


def arguments(states: int = 2) -> list[Tensor]:
    g = torch.Generator().manual_seed(1)
    sizes = [
        (states, states, 6, 2, 3),
        (states, 6, 2, 3),
        (states, 6, 2, 3),
        (6, 2, 3),
        (6, 2, 5),
        (6, 2, 3),
        (states, 2, 3, 5),
    ]
    return [torch.randn(s, generator=g, dtype=torch.float64) for s in sizes]


@pytest.mark.parametrize("states", [1, 2, 3])
def test_kernel_equals_its_definition(states: int) -> None:
    given = arguments(states)
    wanted = sweep_reference(*given)
    given[0] = given[0].transpose(2, 3).contiguous().transpose(2, 3)
    for want, got in zip(wanted, torch.ops.neuro.eligibility_sweep(*given), strict=True):
        assert torch.allclose(want, got, rtol=1e-12, atol=1e-12)


def test_registered_op_passes_opcheck() -> None:
    torch.library.opcheck(torch.ops.neuro.eligibility_sweep.default, tuple(arguments()))


def test_memory_does_not_grow_with_time() -> None:
    sizes = [Problem(OWN, sizes=(time, 2, 3, 4)).forward(Route())[3].weight.numel() for time in (1, 40, 200)]
    assert len(set(sizes)) == 1


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_several_inputs_are_rows_of_one_weight(backend: str) -> None:
    """A cell of two drives and one spike: its weight has twice as many rows as there are neurons."""
    gate = Equations(
        "Gated",
        """
        v' = (v + tanh(x)) * (1 + tanh(g + w*v)) / 2
        s' = 0.9 * s + g * v'
        spike when v > 0.4
        reset subtract: v = v - 0.4
        output z * v + 0.2 * s
        """,
        {"w": Parameter(0.3)},
        inputs=("x", "g"),
    )
    spec = ScanSpec(gate, "euler", "subtract", Surrogate("atan", 0.5, 0.8), frozenset({"w"}))
    g = torch.Generator().manual_seed(0)
    weight, u, signal = (torch.randn(s, generator=g).double() for s in ((8, 3), (40, 2, 3), (40, 2, 4)))
    weight.requires_grad_()
    w = (0.3 * torch.rand(4, generator=g).double()).requires_grad_()
    state = [torch.randn(2, 4, generator=g).double() for _ in range(2)]
    current = u @ weight.t()
    y, _ = scan(spec, list(current.chunk(2, 2)), state, [w], route=Route(cut_reset=False))
    (y * signal).sum().backward()
    given: Any = (current.detach(), u, signal)
    options: Any = {"coefficients": [w.detach()], "state": state, "route": Route(cut_reset=False), "backend": backend}
    parts: Any = [[t[:13] for t in given], [t[13:] for t in given]]
    first = eligibility(spec, *parts[0], **options)
    options |= {"state": first.state, "traces": first.traces}
    then = eligibility(spec, *parts[1], **options)
    assert first.traces.weight.shape == (2, 2, 8, 3)
    assert torch.allclose(torch.cat([first.output, then.output]), y, rtol=1e-12)
    pairs = (
        (weight.grad, first.weight_grad + then.weight_grad),
        (w.grad, (first.coefficient_grad + then.coefficient_grad)[0]),
    )
    for wanted, made in pairs:
        assert wanted is not None
        assert float((wanted - made).abs().max()) <= 1e-9 * float(wanted.abs().max())
    with pytest.raises(InputError, match=r"current must be \[T, B, 2 O\], got \[40, 2, 7\]"):
        eligibility(spec, current[:, :, 1:].detach(), u, signal, state, [w.detach()])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"presynaptic": torch.zeros(70, 3, 5).double()}, r"presynaptic must be \[T, B, I\] with \[70, 2\]"),
        ({"signal": torch.zeros(70, 2, 3).double()}, r"signal must be \[T, B, O\] = \[70, 2, 4\]"),
        ({"signal": torch.zeros(70, 2, 4)}, "signal is torch.float32"),
        ({"backend": "nmba"}, "did you mean 'numba'"),
        ({"backend": "cuda"}, "does not run on cpu"),
        ({"traces": Traces(torch.zeros(1), torch.zeros(1))}, r"traces.weight must be \[3, 2, 4, 5\]"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], says: str) -> None:
    problem = Problem(OWN)
    given: dict[str, Any] = {
        "current": problem.u @ problem.weight.t(),
        "presynaptic": problem.u,
        "signal": problem.signal,
        "state": problem.state,
        "coefficients": problem.table,
    }
    with pytest.raises(InputError, match=says):
        eligibility(problem.spec, **(given | change))
