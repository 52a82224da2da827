"""Declarations are read as written, and a wrong one is refused with the line at fault."""

from __future__ import annotations

import pickle  # noqa: TID251 - that definitions pickle is the point

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.compiler.equations import Equations, Parameter, after_step
from neuro.kernels.scans.scan import ScanSpec, scan

TAU = {"tau": Parameter(0.02, "s", positive=True)}


def test_lines_become_expressions() -> None:
    made = Equations(
        "Two",
        """
        dv/dt = (x - v - a) / tau   # a comment
        da/dt = -a / tau
        spike when v > 1
        reset value: v = 0
        reset value: a = a + 0.5
        reset subtract: v = v - 1
        output z*v
        """,
        TAU,
    )
    assert made.states == ("v", "a")
    assert made.reset_kinds == ("value", "subtract", "none")
    assert {k: str(e) for k, e in made.reset("value").items()} == {"v": "0", "a": "a + 0.5"}
    assert dict(made.reset("none")) == {}
    assert str(made.output) == "v*z"


def test_maps_starts_and_new_values() -> None:
    made = Equations(
        "Map",
        """
        v' = exp(-dt/tau)*v + x - w
        dw/dt = (v' - w) / tau
        start w = -tau
        spike when v > 1 + w
        reset value: v = v - dt/tau
        """,
        TAU,
    )
    assert made.states == ("v", "w")
    assert made.maps == {"v"}
    assert made.membrane == ("v",)
    assert {k: str(e) for k, e in made.start.items()} == {"w": "-tau"}
    assert after_step("v") in made.flow["w"].free_symbols
    assert pickle.loads(pickle.dumps(made)) == made


def test_equal_declarations_are_equal_and_pickle() -> None:
    one = Equations("L", "dv/dt = (x - v)/tau\noutput v", TAU)
    assert pickle.loads(pickle.dumps(one)) == one
    assert hash(pickle.loads(pickle.dumps(one))) == hash(one)
    assert one != Equations("L", "dv/dt = (x - 2*v)/tau\noutput v", TAU)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dv/dt = (x - w)/tau\noutput v", "undefined symbol 'w'"),
        ("dv/dt = (x - v)/tau +\noutput v", "cannot be read"),
        ("dv/dt = (x - v)/tau\nvoltage spikes", "'voltage spikes': expected"),
        ("dv/dt = (x - v)/tau\nspike when x > 1", "depends on no state"),
        ("dv/dt = (x - v)/tau\nspike when v > 1\nspike when v > 2", "one spike condition"),
        ("dv/dt = (x - v)/tau\nspike when v > 1\nreset value: w = 0", "'w' is no state"),
        ("dv/dt = x - v\noutput v", "'tau' is used in no line"),
        ("dv/dt = x/(tau - 0.02)\noutput v", "not a finite real number"),
        ("dv/dt = x/tau", "no line 'spike when ...'"),
        ("dv/dt = x/tau\ndv/dt = v\noutput v", "two lines"),
        ("v' = x/tau\ndv/dt = v\noutput v", "two lines"),
        ("v' = x/tau + w'\nw' = v\noutput v", "w' is the new value of a state"),
        ("v' = x/tau\noutput v'", "v' is the new value of a state"),
        ("v' = x/tau\nstart w = 1\noutput v", "'w' is no state"),
        ("v' = x/tau\nstart v = x\noutput v", "undefined symbol 'x'"),
        ("dv/dt = x*dt/tau\noutput v", "undefined symbol 'dt'"),
        ("output x*tau", "no state"),
        ("dz/dt = x/tau\noutput z", "'z' is reserved"),
        ("dc1/dt = x/tau\noutput c1", "'c1' is reserved"),
    ],
)
def test_wrong_declarations_name_the_fault(text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        Equations("Bad", text, TAU)
    assert says in str(caught.value)
    assert "Bad" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("default", [float("nan"), float("inf"), 0.0, -1.0])
def test_default_out_of_range(default: float) -> None:
    with pytest.raises(InputError, match="has the default"):
        Equations("Bad", "dv/dt = (x - v)/tau\noutput v", {"tau": Parameter(default, "s", positive=True)})


@pytest.mark.parametrize(("sign", "spikes"), [(">", [0, 0, 1, 1, 0]), (">=", [0, 1, 0, 1, 0])])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_a_threshold_that_is_met_exactly(sign: str, spikes: list[int], dtype: torch.dtype, backend: str) -> None:
    text = f"v' = v + x\nspike when v {sign} threshold\nreset value: v = 0"
    spec = ScanSpec(Equations("Met", text, {"threshold": Parameter(1.0)}), "euler", "value")
    coefficients = [torch.tensor(v, dtype=dtype) for v in (1.0, -1.0)][-len(spec.program.coefficients) :]
    x = torch.tensor([0.5, 0.5, 0.75, 1.25, -3.0], dtype=dtype).view(5, 1, 1).requires_grad_()
    z, _ = scan(spec, [x], [torch.zeros(1, 1, dtype=dtype)], coefficients, backend=backend)
    assert z.flatten().tolist() == spikes
    z.sum().backward()
    # The surrogate is that of v - threshold on both sides of zero, and so is its slope.
    assert x.grad is not None
    last = -3.0 if spikes[3] else -2.0
    assert x.grad[4].item() == pytest.approx(1 / (1 + (torch.pi * (last - 1.0)) ** 2), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_a_count_passes_no_gradient(dtype: torch.dtype, backend: str) -> None:
    text = "v' = 0.5*v + x\nspike when v >= 0.7\nreset value: v = v - 0.7*whole(v, 0.7)\noutput z + whole(v, 0.7)"
    spec = ScanSpec(Equations("Count", text, {}), "euler", "value")
    x = torch.tensor([0.7, 1.5, -3.0, 2.9], dtype=dtype).view(4, 1, 1).requires_grad_()
    z, _ = scan(spec, [x], [torch.zeros(1, 1, dtype=dtype)], [], backend=backend)
    count, v = [], torch.zeros((), dtype=dtype)
    for step in x.detach().flatten():
        v = 0.5 * v + step
        n = torch.floor(v / torch.tensor(0.7, dtype=dtype))
        count.append(float(n + (v >= torch.tensor(0.7, dtype=dtype))))
        v = v - 0.7 * n if v >= 0.7 else v
    assert z.flatten().tolist() == count
    z[3].sum().backward()
    assert x.grad is not None
    slope = 1 / (1 + (torch.pi * (x[3].item() + 0.5 * (-3.0 + 0.5 * 0.1) - 0.7)) ** 2)
    assert x.grad[3].item() == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("dv/dt = (x - v) / tau\nspike when v > 1", "x", "'x' is both input and parameter"),
        ("dx/dt = -x / tau\nspike when x > 1", "tau", "'x' is both state and input"),
        ("dw/dt = (x - w) / tau\nspike when w > 1", "w", "'w' is both state and parameter"),
    ],
)
def test_a_name_stands_for_one_thing(text: str, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Equations("Twice", text, {"tau": Parameter(0.02, "s", positive=True), name: Parameter(1.0)})


def test_an_open_bracket_is_named_with_its_line() -> None:
    with pytest.raises(InputError, match=r"line 'dv/dt = \(x - v / tau': cannot be read"):
        Equations("Open", "dv/dt = (x - v / tau\nspike when v > 1", {"tau": Parameter(0.02, "s", positive=True)})


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("dv/dt = gamma(v) - x", "unknown function 'gamma'; there are exp, log"),
        ("dv/dt = (x - v).__class__", "made of names, numbers"),
        ("dv/dt = x - v if x else v[0]", "made of names, numbers"),
        ("dv/dt = 0.5.real * (x - v)", "made of names, numbers"),
    ],
)
def test_nothing_but_a_formula_is_evaluated(line: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Equations("G", f"{line}\nspike when v > 1\nreset a: v = 0", {})
