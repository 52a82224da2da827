"""The generated text of the recurrent scan with delays: what it holds, and what it leaves out."""

from __future__ import annotations

import ast

from neuro.kernels.compiler.program import compile_program
from neuro.kernels.scans.recurrent_delayed_source import delayed_forward_source
from neuro.neurons import CuBaLIF

PROGRAM = compile_program(CuBaLIF.equations, "euler", "value")


def test_whole_delays_read_one_weight_for_each_synapse() -> None:
    taps = delayed_forward_source(PROGRAM, "float32", (), False, False, ())
    whole = delayed_forward_source(PROGRAM, "float32", (), False, True, ())
    assert "weight = table[lag - 1, n]" in taps
    assert "weight = table[n]" in whole
    for text in (taps, whole):
        assert [f.name for f in ast.parse(text).body if isinstance(f, ast.FunctionDef)] == ["spread", "kernel"]
        assert "fastmath" not in text


def test_forward_keeps_only_what_is_asked_for() -> None:
    bare = delayed_forward_source(PROGRAM, "float32", (), False, True, ())
    full = delayed_forward_source(PROGRAM, "float64", (0, 1), True, True, ())
    assert "_save_" not in bare
    assert "_current[_t, _b]" not in bare
    assert "_save_i[_n] = i" in full
    assert "_row = _current[_t, _b]" in full
