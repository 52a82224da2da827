"""Laws that hold for every registered cell and for one of a user's own."""

from __future__ import annotations

import copy
import inspect
import pickle  # noqa: TID251 - that definitions pickle is the point

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


KINDS = [*CELLS.values(), Adaptive]
IDS = [k.__name__ for k in KINDS]


def drive(cell: Cell, time: int = 12, batch: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    scale = 600.0 if isinstance(cell, neuro.IF) else 15.0
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
        learnable = [n for n in kind.equations.parameters if not n.startswith(("v_reset", "r", "v_leak"))]
        cell = kind(6, learn=learnable or ["r"])
        cell(drive(cell, 40))[0].sum().backward()
        for name, parameter in cell.named_parameters():
            assert parameter.grad is not None, name
            assert float(parameter.grad.abs().sum()) > 0, name

    def test_kernel_equals_reference(self, kind: type[Cell]) -> None:
        cell = kind(6)
        x = drive(cell)
        assert torch.equal(cell(x)[0], cell(x, backend="reference")[0])

    def test_float64(self, kind: type[Cell]) -> None:
        cell = kind(4).double()
        z, state = cell(drive(cell).double())
        assert z.dtype == torch.float64
        assert all(s.dtype == torch.float64 for s in state)

    def test_copies_and_definitions(self, kind: type[Cell]) -> None:
        cell = kind(4, dt=2e-3, learn=["r"] if "r" in kind.equations.parameters else ["tau"])
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
