"""Each named discretisation against an independent solution of the differential equation."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
import torch
from scipy.integrate import solve_ivp

from neuro.errors import InputError
from neuro.kernels.compiler.discretise import discretise
from neuro.kernels.compiler.equations import Equations, Parameter, symbol
from neuro.kernels.compiler.program import compile_program
from neuro.kernels.compiler.reference import coefficients, reference_scan
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.neurons import LIF, CuBaLIF

DT = 3e-3


def one_step(equations: Equations, method: str, values: dict[str, float], state: list[float], x: float) -> list[float]:
    program = compile_program(equations, method, "none")
    table = {k: torch.tensor(v, dtype=torch.float64) for k, v in values.items()}
    _, _, before_reset = reference_scan(
        program,
        [torch.full((1, 1, 1), x, dtype=torch.float64)],
        [torch.full((1, 1), s, dtype=torch.float64) for s in state],
        coefficients(program, table, DT),
        surrogate=Surrogate(),
        route=Route(),
    )
    return [s.item() for s in before_reset]


LIF_VALUES = {"tau": 0.013, "r": 1.7, "v_leak": -0.2, "v_threshold": 9.0, "v_reset": 0.0}


def test_euler_is_one_explicit_step() -> None:
    (v,) = one_step(LIF.equations, "euler", LIF_VALUES, [0.3], 0.8)
    assert v == pytest.approx(0.3 + DT / 0.013 * ((-0.2 - 0.3) + 1.7 * 0.8), rel=1e-14)


def test_exponential_lif_solves_the_equation() -> None:
    (v,) = one_step(LIF.equations, "exponential", LIF_VALUES, [0.3], 0.8)
    end = -0.2 + 1.7 * 0.8
    assert v == pytest.approx(end + (0.3 - end) * np.exp(-DT / 0.013), rel=1e-13)


@pytest.mark.parametrize("tau_mem", [0.02, 0.005, 0.005 * (1 + 1e-9), 0.001])
def test_exponential_cubalif_solves_the_equation_even_at_equal_time_constants(tau_mem: float) -> None:
    values = LIF_VALUES | {"tau_syn": 0.005, "tau_mem": tau_mem, "w_in": 2.3}
    del values["tau"]
    i, v = one_step(CuBaLIF.equations, "exponential", values, [0.4, 0.3], 0.8)

    def flow(_: float, s: np.ndarray) -> list[float]:
        return [(2.3 * 0.8 - s[0]) / 0.005, ((-0.2 - s[1]) + 1.7 * s[0]) / tau_mem]

    exact = solve_ivp(flow, (0, DT), [0.4, 0.3], rtol=1e-12, atol=1e-14).y[:, -1]
    assert [i, v] == pytest.approx(list(exact), rel=1e-9)


MAP = Equations(
    "Map",
    "w' = 0.5*w + a*v\nv' = exp(-dt/tau)*v + x - w'\ndi/dt = (v' - i)/tau\nspike when v > 9\noutput i*z",
    {"tau": Parameter(0.02, "s", positive=True), "a": Parameter(0.3)},
)


@pytest.mark.parametrize("method", ["euler", "exponential"])
def test_maps_run_in_the_order_written(method: str) -> None:
    w, v, i = one_step(MAP, method, {"tau": 0.013, "a": 0.3}, [0.4, 0.7, -0.2], 0.8)
    assert w == pytest.approx(0.5 * 0.4 + 0.3 * 0.7, rel=1e-14)
    assert v == pytest.approx(np.exp(-DT / 0.013) * 0.7 + 0.8 - w, rel=1e-14)
    decay = 1 - DT / 0.013 if method == "euler" else np.exp(-DT / 0.013)
    assert i == pytest.approx(v + (-0.2 - v) * decay, rel=1e-13)


def test_exponential_keeps_products_of_what_is_constant_over_the_step() -> None:
    equations = Equations("P", "dv/dt = (x*x - v)/tau\noutput v", {"tau": Parameter(0.02, "s", positive=True)})
    (v,) = one_step(equations, "exponential", {"tau": 0.01}, [0.3], 0.8)
    assert v == pytest.approx(0.64 + (0.3 - 0.64) * np.exp(-DT / 0.01), rel=1e-13)


def test_refractory_countdown_holds_the_membrane_only() -> None:
    held = discretise(CuBaLIF.equations, "euler", refractory=True)
    free = discretise(CuBaLIF.equations, "euler")
    left = symbol("refractory")
    assert held["i"] == free["i"]
    assert held["v"].subs(left, 2) == symbol("v")
    assert held["v"].subs(left, 1) == free["v"]
    assert [held["refractory"].subs(left, n) for n in (0, 1, 4)] == [0, 0, 3]


def test_unknown_method_suggests() -> None:
    with pytest.raises(InputError, match="did you mean 'exponential'"):
        discretise(LIF.equations, "exponentail")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dv/dt = (x - v*v)/tau\noutput v", "not linear"),
        ("dv/dt = (w - v)/tau\ndw/dt = (u1 - w)/tau\ndu1/dt = (x - u1)/tau\noutput v", "chain"),
        ("dv/dt = (w - v)/tau\ndw/dt = x\noutput v", "never decays"),
    ],
)
def test_exponential_refuses_what_it_cannot_solve(text: str, says: str) -> None:
    equations = Equations("E", text, {"tau": Parameter(0.02, "s", positive=True)})
    with pytest.raises(InputError, match=says):
        discretise(equations, "exponential")


def test_perfect_integrator_has_an_exponential_step() -> None:
    equations = Equations("I", "dv/dt = r*x\noutput v", {"r": Parameter(1.0)})
    step = discretise(equations, "exponential")["v"]
    assert sympy.simplify(step - symbol("v") - symbol("r") * symbol("x") * symbol("dt")) == 0
