"""The tangent of a step, against finite differences of the step itself and by hand for LIF."""

from __future__ import annotations

import pytest

from neuro.kernels.compiler.program import compile_program
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.sensitivity import derive_tangent
from neuro.neurons import CELLS, LIF


def test_of_a_leaky_neuron_by_hand() -> None:
    program = compile_program(LIF.equations, "euler", "subtract")
    tangent = derive_tangent(program, Route(), ())
    assert tangent.is_linear(program)  # the trace of OTTT: v follows v by the leak, whatever the neuron does
    ((leak,),), (gain,) = tangent.state, tangent.input
    values = dict(zip(program.coefficient_symbols, (0.0,) * 9, strict=False))
    assert all(s in values for s in leak.free_symbols | gain.free_symbols)
    by_value = derive_tangent(compile_program(LIF.equations, "euler", "value"), Route(), ())
    assert not by_value.is_linear(program)  # a spike wipes the trace
    assert {"z"} <= {str(s) for s in by_value.state[0][0].free_symbols}


def test_cut_edges_leave_the_tangent() -> None:
    program = compile_program(LIF.equations, "euler", "value")
    assert all(e == 0 for e in derive_tangent(program, Route(cut_time=True), ()).state[0])
    cut, kept = (derive_tangent(program, Route(cut_reset=c), ()).state[0][0] for c in (True, False))
    assert "sd" not in {str(s) for s in cut.free_symbols}
    assert "sd" in {str(s) for s in kept.free_symbols}


@pytest.mark.parametrize("name", sorted(CELLS))
def test_shapes_for_every_cell(name: str) -> None:
    equations = CELLS[name].equations
    program = compile_program(equations, "euler", equations.reset_kinds[0])
    learned = program.learned(frozenset(equations.parameters))
    tangent = derive_tangent(program, Route(), learned)
    states = len(program.states)
    assert len(tangent.state) == len(tangent.input) == len(tangent.output) == len(tangent.coefficient) == states
    assert {len(row) for row in tangent.state} == {states}
    assert {len(row) for row in tangent.coefficient} == {len(learned)}
    assert len(tangent.output_coefficient) == len(learned)


def test_of_a_refractory_cell() -> None:
    program = compile_program(LIF.equations, "euler", "value", refractory=True)
    tangent = derive_tangent(program, Route(), ())
    assert len(tangent.state) == 2
    assert not tangent.is_linear(program)
