"""Laws that hold for every registered cell and for one of a user's own."""

from __future__ import annotations

import copy
import inspect
import pickle  # noqa: TID251 - that definitions pickle is the point
from typing import Any

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.neurons import CELLS, Cell


class Adaptive(Cell):
    """A user's own neuron."""

    equations = neuro.Equations(
        "Adaptive",
        """
        dv/dt = (x - v - a) / tau
        da/dt = -a / tau_a
        spike when v > theta
        reset value: v = 0
        reset value: a = a + b
        """,
        {
            "tau": neuro.Parameter(0.02, "s", positive=True),
            "tau_a": neuro.Parameter(0.1, "s", positive=True),
            "theta": neuro.Parameter(1.0, "V"),
            "b": neuro.Parameter(0.1, "V"),
        },
    )


KINDS: list[type[neuro.Cell]] = [*CELLS.values(), Adaptive]
IDS = [k.__name__ for k in KINDS]


SCALES = {"IF": 600.0, "AdEx": 5e-9, "Izhikevich": 100.0, "ResonateAndFire": 60.0, "ShortTermPlasticity": 0.3}
"""Input that makes a cell spike, where it is not around 15."""
EXPONENTIAL = ("EIF", "AdEx")
"""Cells with a transcendental function in the loop, whose last bits differ between torch and the kernels' libm."""


def drive(cell: Cell, time: int = 12, batch: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    scale = SCALES.get(type(cell).__name__, 15.0)
    return (torch.randn((time, batch, *cell.size), generator=generator) + 0.5) * scale


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
class TestLaws:
    def test_shapes(self, kind: type[Cell]) -> None:
        cell = kind((2, 3))
        z, state = cell(drive(cell))
        assert z.shape == (12, 3, 2, 3)
        assert [s.shape for s in state] == [(3, 2, 3)] * len(kind.equations.states)
        assert bool(z.any())

    def test_sequence_equals_repeated_steps_and_any_split(self, kind: type[Cell]) -> None:
        cell = kind(7)
        x = drive(cell)
        whole, last = cell(x)
        state = cell.initial_state(3)
        steps = []
        for row in x:
            z, state = cell.step(row, state)
            steps.append(z)
        assert torch.equal(torch.stack(steps), whole)
        for cut in (0, 1, 5, 12):
            first, middle = cell(x[:cut])
            second, end = cell(x[cut:], middle)
            assert torch.equal(torch.cat([first, second]), whole)
            assert all(torch.equal(a, b) for a, b in zip(end, last, strict=True))

    def test_batch_order_does_not_matter(self, kind: type[Cell]) -> None:
        cell = kind(5)
        x = drive(cell)
        order = torch.tensor([2, 0, 1])
        assert torch.equal(cell(x[:, order])[0], cell(x)[0][:, order])

    def test_silent_without_input(self, kind: type[Cell]) -> None:
        assert not bool(kind(4)(torch.zeros(30, 1, 4))[0].any())

    def test_every_learned_parameter_gets_a_gradient(self, kind: type[Cell]) -> None:
        fixed = ("v_reset", "r", "v_leak", "primed")  # the last acts before the first step only
        learnable = [n for n in kind.equations.parameters if not n.startswith(fixed)]
        cell = kind(6, learn=learnable or ["r"])
        cell(drive(cell, 40))[0].sum().backward()
        for name, parameter in cell.named_parameters():
            assert parameter.grad is not None, name
            assert float(parameter.grad.abs().sum()) > 0, name

    def test_kernel_equals_reference(self, kind: type[Cell]) -> None:
        cell = kind(6)
        x = drive(cell)
        z, state = cell(x)
        expected, last = cell(x, backend="reference")
        assert torch.equal(z, expected)
        for ours, wanted in zip(state, last, strict=True):
            if kind.__name__ in EXPONENTIAL:
                assert torch.allclose(ours, wanted, rtol=1e-5, atol=1e-12)
            else:
                assert torch.equal(ours, wanted)

    def test_gradients_equal_the_reference(self, kind: type[Cell]) -> None:
        check_gradients(kind(5, learn=tuple(kind.equations.parameters)))

    def test_refractory_period(self, kind: type[Cell]) -> None:
        if kind.equations.drive is None:
            with pytest.raises(InputError, match="never spikes, so it has no refractory period"):
                kind(5, refractory=2e-3)
            return
        cell = kind(5, refractory=2.6e-3)
        x = drive(cell, 60)
        assert torch.equal(cell(x)[0], cell(x, backend="reference")[0])
        z, _, states = cell.trace(x)
        assert float((z != 0).sum()) > 5
        for t, b, n in (z != 0)[:-4].nonzero().tolist():
            assert not bool(z[t + 1 : t + 4, b, n].any())
            assert states["refractory"][t + 1 : t + 5, b, n].tolist() == [3, 2, 1, 0]
            for name in kind.equations.membrane:
                held = states[name][t + 1 : t + 4, b, n]
                assert bool((held == held[0]).all())
                assert float(states[name][t + 4, b, n]) != float(held[0])

    def test_float64(self, kind: type[Cell]) -> None:
        cell = kind(4).double()
        z, state = cell(drive(cell).double())
        assert z.dtype == torch.float64
        assert all(s.dtype == torch.float64 for s in state)

    def test_copies_and_definitions(self, kind: type[Cell]) -> None:
        cell = kind(4, dt=2e-3, learn=[next(iter(kind.equations.parameters))], shared=[])
        x = drive(cell)
        expected = cell(x)[0]
        again = kind.from_definition(cell.definition())
        again.load_state_dict(cell.state_dict())
        for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell)), again):
            assert torch.equal(other(x)[0], expected)
            assert repr(other) == repr(cell)

    def test_signature_spells_out_the_parameters(self, kind: type[Cell]) -> None:
        shown = inspect.signature(kind).parameters
        for name, declared in kind.equations.parameters.items():
            assert shown[name].default == declared.default


def check_gradients(cell: Cell) -> None:
    """The kernel's gradients of inputs, states and parameters against autograd of the reference, in float64."""
    cell = cell.double()
    x = drive(cell, 20).double()
    generator = torch.Generator().manual_seed(4)
    weight = torch.rand(x.shape, generator=generator, dtype=x.dtype)
    found: list[list[torch.Tensor]] = []
    for backend in ("reference", "numba"):
        leaves = [x.clone(), *cell.initial_state(3, dtype=x.dtype)]
        leaves = [leaf.detach().requires_grad_() for leaf in leaves]
        z, state = cell(leaves[0], tuple(leaves[1:]), backend=backend)
        loss = (z * weight).sum() + sum((s * weight[0]).sum() for s in state)
        leaves += cell.parameters()
        grads = torch.autograd.grad(loss, leaves, allow_unused=True)
        found.append([torch.zeros_like(a) if g is None else g for a, g in zip(leaves, grads, strict=True)])
    assert any(bool(g.any()) for g in found[0])
    for wanted, ours in zip(*found, strict=True):
        assert float((wanted - ours).abs().max()) <= 1e-10 * max(float(wanted.abs().max()), 1e-12)


@pytest.mark.parametrize("name", ["LIF", "CuBaLIF", "SEAdLIF", "AdEx", "EventGate"])
def test_gradients_with_a_refractory_period(name: str) -> None:
    kind = CELLS[name]
    check_gradients(kind(5, learn=tuple(kind.equations.parameters), refractory=2e-3))


def test_refractory_period_per_neuron_and_through_a_definition() -> None:
    cell = neuro.LIF(3, tau=2e-3, refractory=torch.tensor([0.0, 1e-3, 4e-3]), learn=())
    z, _ = cell(torch.full((20, 1, 3), 30.0))
    assert z.sum(0).flatten().tolist() == [20, 10, 4]
    again = neuro.LIF.from_definition(cell.definition())
    again.load_state_dict(cell.state_dict())
    assert torch.equal(again(torch.full((20, 1, 3), 30.0))[0], z)
    assert "refractory" not in neuro.LIF(3).state_dict()


def test_refractory_input_reaches_neither_spike_nor_gradient() -> None:
    cell = neuro.LIF(1, tau=1e-3, refractory=2e-3, learn=())
    x = torch.tensor([1.5, 90.0, 90.0, 0.5]).view(4, 1, 1).requires_grad_()
    z, (v, left) = cell(x)
    assert z.flatten().tolist() == [1, 0, 0, 0]
    assert (v.item(), left.item()) == (0.5, 0.0)
    (grad,) = torch.autograd.grad(v.sum() + z.sum(), x)
    assert (grad.flatten() != 0).tolist() == [True, False, False, True]


def test_shared_parameters_have_one_value() -> None:
    cell = neuro.LIF((2, 3), shared=("tau",), learn=("tau", "v_threshold"))
    assert {n: tuple(p.shape) for n, p in cell.named_parameters()} == {"log_tau": (), "v_threshold": (2, 3)}
    each = neuro.LIF((2, 3), learn=("tau", "v_threshold"))
    x = drive(cell)
    for made in (cell, each):
        made(x)[0].sum().backward()
    shared, own = (dict(c.named_parameters())["log_tau"].grad for c in (cell, each))
    assert shared is not None
    assert own is not None
    assert shared.item() == pytest.approx(own.sum().item(), rel=1e-5)
    assert neuro.LIF(3, shared=("tau",), tau=torch.full((3,), 0.5)).value("tau").dim() == 0


def test_time_constants_stay_positive_while_training() -> None:
    cell = neuro.LIF(3, tau=1e-3)
    optimizer = torch.optim.SGD(cell.parameters(), lr=50.0)
    for sign in (1, -1):
        optimizer.zero_grad()
        (sign * cell.value("tau").sum()).backward()
        optimizer.step()
        assert bool((cell.value("tau") > 0).all())


def test_values_are_kept_exactly() -> None:
    tau = torch.rand(5) / 50 + 1e-3
    cell = neuro.LIF(5, tau=tau, v_threshold=0.3, learn=())
    assert torch.equal(cell.parameters_si()["tau"], tau)
    assert torch.equal(cell.parameters_si()["v_threshold"], torch.full((5,), 0.3))
    tau += 1  # the cell holds its own copy
    assert not torch.equal(cell.parameters_si()["tau"], tau)


def test_state_leaks_nowhere() -> None:
    cell = neuro.LIF(4)
    x = drive(cell)
    first, state = cell(x)
    before = [s.clone() for s in state]
    cell(x, state)
    assert all(torch.equal(a, b) for a, b in zip(state, before, strict=True))
    assert torch.equal(cell(x)[0], first)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 0}, "size must be positive"),
        ({"size": (3, -1)}, "size must be positive"),
        ({"dt": 0.0}, "dt must be a positive"),
        ({"dt": float("nan")}, "dt must be a positive"),
        ({"tau": -0.01}, "tau must be positive and finite [s], got -0.01"),
        ({"tau": float("nan")}, "tau must be positive"),
        ({"v_threshold": float("inf")}, "v_threshold must be finite"),
        ({"tau": torch.ones(4)}, "shape (5,), got shape (4,)"),
        ({"taus": 0.1}, "did you mean 'tau'"),
        ({"learn": ["tua"]}, "did you mean 'tau'"),
        ({"reset": "zero"}, "unknown reset 'zero'"),
        ({"method": "eulr"}, "did you mean 'euler'"),
        ({"surrogate": "atn"}, "did you mean 'atan'"),
        ({"shared": ["tua"]}, "did you mean 'tau'"),
        ({"shared": ["tau"], "tau": torch.arange(1.0, 6.0)}, "tau is shared, so it is one number, got 5"),
        ({"refractory": -1e-3}, "refractory must be 0 or at least half a step of 0.001 s, got -0.001"),
        ({"refractory": 1e-4}, "at least half a step"),
        ({"refractory": float("inf")}, "at least half a step"),
        ({"refractory": torch.ones(4)}, "shape (5,), got shape (4,)"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError) as caught:
        neuro.LIF(**({"size": 5} | options))  # type: ignore[arg-type]
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("x", "state", "says"),
    [
        (torch.zeros(4, 5), None, r"takes \[T, B, 5\]"),
        (torch.zeros(4, 2, 6), None, r"got \(4, 2, 6\)"),
        (torch.zeros(4, 2, 5), (torch.zeros(3, 5),), "state must be 1 tensors"),
        (torch.zeros(4, 2, 5), (), "state must be 1 tensors"),
    ],
)
def test_bad_sequences_are_named(x: torch.Tensor, state: tuple[torch.Tensor, ...] | None, says: str) -> None:
    with pytest.raises(InputError, match=says):
        neuro.LIF(5)(x, state)


@pytest.mark.parametrize("taken", ["step", "size", "value", "train", "dt2"])
def test_a_parameter_may_not_hide_what_every_cell_has(taken: str) -> None:
    equations = neuro.Equations(
        "Own",
        f"dv/dt = (x - {taken}*v) / tau\nspike when v > 1\nreset value: v = 0",
        {"tau": neuro.Parameter(0.02, "s", positive=True), taken: neuro.Parameter(1.0, "1")},
    )
    if hasattr(Cell, taken) or taken == "size":
        with pytest.raises(
            InputError, match=f"Own parameter '{taken}' is the name of an attribute of every cell; rename"
        ):
            type("Own", (Cell,), {"equations": equations})
    else:
        assert issubclass(type("Own", (Cell,), {"equations": equations}), Cell)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 2.5}, "size must be positive integers, got 2.5"),
        ({"size": None}, "size must be positive integers"),
        ({"size": (2, True)}, "size must be positive integers"),
        ({"dt": True}, "dt must be a positive number"),
        ({"tau": "a"}, "tau must be a number or a tensor, got 'a'"),
        ({"tau": torch.tensor(1j)}, "tau must be floating, got a tensor of torch.complex64"),
        ({"tau": torch.tensor(3)}, "tau must be floating, got a tensor of torch.int64"),
        ({"surrogate": 3}, "surrogate must be a name or a neuro.Surrogate, got 3"),
        ({"learn": "tau"}, r"learn must be a tuple of names, got 'tau'; write \('tau',\)"),
    ],
)
def test_options_of_the_wrong_kind_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        neuro.LIF(**({"size": 3} | options))


@pytest.mark.parametrize("x", [[[[1.0]]], torch.zeros(2, 1, 1).to_sparse()])
def test_what_is_no_plain_tensor_is_refused(x: Any) -> None:
    with pytest.raises(InputError, match=r"LIF takes a tensor \[T, B, ...\], got"):
        neuro.LIF(1)(x)


class Held(neuro.Cell):
    """Choices among values that a refractory period holds."""

    equations = neuro.Equations(
        "Held",
        """
        dv/dt = (x - v) / tau
        m' = 0.9 * Max(m, v', 0.1) + Abs(v' - 0.3) - Min(v', m)
        spike when v > 0.5
        reset value: v = 0
        """,
        {"tau": neuro.Parameter(0.011, "s", positive=True)},
    )


def test_choices_among_held_values() -> None:
    torch.manual_seed(0)
    cell, x = Held(3, refractory=3e-3).double(), torch.rand(40, 2, 3, dtype=torch.float64) * 9
    made = [cell(x.requires_grad_(), backend=b) for b in ("numba", "reference")]
    assert made[0][0].any()
    assert torch.equal(made[0][0], made[1][0])
    grads = [torch.autograd.grad(state[1].sum() + z.sum(), x)[0] for z, state in made]
    assert torch.allclose(grads[0], grads[1], rtol=1e-10, atol=1e-13)
