"""The generated text is plain Python that computes what the compiled kernel does."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from neuro.kernels.compiler.numba_source import backward_source, forward_source
from neuro.kernels.compiler.program import compile_program, derive_backward, saved_states
from neuro.kernels.compiler.route import Route
from neuro.neurons import LIF


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for Numba that compiles nothing: array bounds are checked by NumPy."""
    fake = types.ModuleType("numba")
    fake.njit = lambda **_: lambda function: function  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "numba", fake)


@pytest.mark.usefixtures("interpreted")
def test_text_runs_as_python_and_stays_within_its_block() -> None:
    program = compile_program(LIF.equations, "euler", "value")
    backward = derive_backward(program, Route(), (2,))
    saved = saved_states(program, backward)
    forward_scope: dict[str, object] = {}
    backward_scope: dict[str, object] = {}
    exec(forward_source(program, "float64", saved), forward_scope)  # noqa: S102 - our own text
    exec(backward_source(program, backward, "float64", saved, "boxcar"), backward_scope)  # noqa: S102 - our own text

    rng = np.random.default_rng(0)
    x = rng.random((6, 3, 5)) * 40
    state = np.zeros((1, 3, 5))
    table = np.tile(np.array([[1.0], [0.0], [0.05], [0.0], [-1.0]]), (1, 5))
    y, trace = np.full((6, 3, 5), np.nan), np.full((1, 6, 3, 5), np.nan)
    forward_scope["kernel"](state, table, y, trace, 1, 3, 0, 4, x)  # type: ignore[operator]
    assert np.isnan(y[:, 0]).all()
    assert np.isnan(y[:, :, 4]).all()
    assert set(np.unique(y[:, 1:, :4])) == {0.0, 1.0}
    assert ((trace[0, :, 1:, :4] > 1) == (y[:, 1:, :4] > 0)).all()

    gx, sums = np.full((6, 3, 5), np.nan), np.zeros((1, 5))
    adjoint = np.zeros((1, 3, 5))
    arguments = (np.ones_like(x), adjoint, np.zeros((1, 3, 5)), table, trace, sums, 1.0, 1.0, 1, 3, 0, 4, x, gx)
    backward_scope["kernel"](*arguments)  # type: ignore[operator]
    assert np.isnan(gx[:, 0]).all()
    assert np.isnan(gx[:, :, 4]).all()
    assert np.isfinite(gx[:, 1:, :4]).all()
    assert sums[0, 4] == 0
