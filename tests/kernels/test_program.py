"""What is hoisted, what is differentiated, what is saved."""

from __future__ import annotations

import pytest

from neuro.errors import InputError
from neuro.kernels.equations import DT, symbol
from neuro.kernels.program import compile_program, current_states, derive_backward, saved_states, uses_spike
from neuro.kernels.route import Route
from neuro.neurons import LI, LIF, CuBaLIF


def test_the_loop_holds_no_parameter() -> None:
    for equations in (LIF.equations, CuBaLIF.equations):
        for method in ("euler", "exponential"):
            program = compile_program(equations, method, "value")
            parameters = {DT, *(symbol(p) for p in equations.parameters)}
            for line in (*program.update, program.drive, program.output, *program.reset):
                assert line is not None
                assert not line.free_symbols & parameters
            assert all(c.free_symbols <= parameters for c in program.coefficients)


def test_learned_coefficients_are_those_the_parameter_enters() -> None:
    program = compile_program(LIF.equations, "euler", "value")
    (index,) = program.learned(frozenset({"tau"}))
    assert str(program.coefficients[index]) == "dt/tau"
    assert program.learned(frozenset()) == ()


def test_sltt_sends_nothing_back_in_time() -> None:
    program = compile_program(CuBaLIF.equations, "euler", "value")
    assert set(derive_backward(program, Route(cut_time=True), ()).previous) == {0}
    assert 0 not in derive_backward(program, Route(), ()).previous


def test_only_what_backward_reads_is_saved() -> None:
    lif = compile_program(LIF.equations, "euler", "value")
    plain = derive_backward(lif, Route(), ())
    assert saved_states(lif, plain) == (0,)
    assert uses_spike(lif, plain)
    cuba = compile_program(CuBaLIF.equations, "euler", "value")
    plain = derive_backward(cuba, Route(), ())
    assert [cuba.states[k] for k in saved_states(cuba, plain)] == ["v"]
    learned = derive_backward(cuba, Route(), cuba.learned(frozenset({"tau_syn"})))
    assert [cuba.states[k] for k in saved_states(cuba, learned)] == ["i", "v"]
    assert current_states(cuba, learned) == {"v"}
    li = compile_program(LI.equations, "euler", "none")
    assert saved_states(li, derive_backward(li, Route(), ())) == ()


def test_unknown_reset() -> None:
    with pytest.raises(InputError, match="unknown reset 'vlue'; did you mean 'value'"):
        compile_program(LIF.equations, "euler", "vlue")
