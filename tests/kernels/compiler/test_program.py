"""What is hoisted, what is differentiated, what is saved."""

from __future__ import annotations

import pytest
import sympy

from neuro.errors import InputError
from neuro.kernels.compiler.equations import DT, Equations, Parameter, symbol
from neuro.kernels.compiler.program import compile_program, current_states, derive_backward, saved_states, uses_spike
from neuro.kernels.compiler.route import Route
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


def test_branches_are_choices_that_can_be_differentiated() -> None:
    equations = Equations(
        "B",
        "dv/dt = (Max(Abs(v), v_low) - Min(v, v_low, x)) / tau\noutput v",
        {"tau": Parameter(0.02, "s", positive=True), "v_low": Parameter(-1.0)},
    )
    program = compile_program(equations, "euler", "none")
    for line in (*program.update, *derive_backward(program, Route(), program.learned(frozenset({"v_low"}))).previous):
        assert not line.atoms(sympy.Min, sympy.Heaviside, sympy.sign, sympy.Derivative)
    (c,) = (k for k, e in enumerate(program.coefficients) if e == symbol("v_low"))
    values = {f"c{k}": float(e.subs({"dt": 1.0, symbol("tau"): 2.0, DT: 1.0, symbol("v_low"): -1.0})) for k, e in
              enumerate(program.coefficients)}  # fmt: skip
    point = {symbol(k): v for k, v in (values | {"v": -3.0, "x": -4.0}).items()}
    assert values[f"c{c}"] == -1.0
    assert float(program.update[0].subs(point)) == -3.0 + 0.5 * (3.0 - -4.0)


def test_refractory_period_gates_the_spike_and_counts_steps() -> None:
    program = compile_program(LIF.equations, "euler", "none", True)
    assert program.states == ("v", "refractory")
    assert program.drive is not None
    assert float(program.drive.subs({symbol("refractory"): 1.0})) == -1.0
    steps = program.coefficients[int(str(program.reset[1])[1:])]
    assert [int(steps.subs({symbol("refractory_period"): p, DT: 1e-3})) for p in (0, 1e-3, 2.6e-3)] == [1, 2, 4]
    with pytest.raises(InputError, match="never spikes"):
        compile_program(LI.equations, "euler", "none", True)


def test_unknown_reset() -> None:
    with pytest.raises(InputError, match="unknown reset 'vlue'; did you mean 'value'"):
        compile_program(LIF.equations, "euler", "vlue")
