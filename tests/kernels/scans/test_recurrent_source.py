"""The generated text of the recurrent kernels: what it holds, and what it leaves out."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

from neuro.kernels.compiler.program import compile_program, derive_backward, saved_states
from neuro.kernels.compiler.route import Route
from neuro.kernels.engines import lanes_numba
from neuro.kernels.scans.recurrent_source import recurrent_backward_source, recurrent_forward_source
from neuro.neurons import CuBaLIF

PROGRAM = compile_program(CuBaLIF.equations, "euler", "value")
BACKWARD = derive_backward(PROGRAM, Route(), ())
SAVED = saved_states(PROGRAM, BACKWARD)


def test_forward_keeps_only_what_is_asked_for() -> None:
    bare = recurrent_forward_source(PROGRAM, "float32", (), False)
    full = recurrent_forward_source(PROGRAM, "float64", (0, 1), True)
    assert "_save_" not in bare
    assert "_current[_t, _b]" not in bare
    assert "_save_i[_n] = i" in full
    assert "_row = _current[_t, _b]" in full
    assert "F = np.float64" in full
    assert [node.name for node in ast.parse(full).body if isinstance(node, ast.FunctionDef)] == ["gather", "kernel"]


def test_nothing_is_multiplied_back_where_the_recurrence_is_cut() -> None:
    whole = recurrent_backward_source(PROGRAM, BACKWARD, "float32", SAVED, "atan", True)
    cut = recurrent_backward_source(PROGRAM, BACKWARD, "float32", SAVED, "atan", False)
    assert "gy = _gy_row[_n] + _up_row[_n]" in whole
    assert "_up_row" not in cut


def test_a_change_of_the_vector_steps_makes_a_new_module() -> None:
    path = Path(lanes_numba.__file__)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"# lanes {digest[:12]}\n" in recurrent_forward_source(PROGRAM, "float32", (), False)


def test_no_fused_multiply_add_may_make_it_spike_otherwise() -> None:
    assert "fastmath" not in recurrent_forward_source(PROGRAM, "float32", SAVED, True)
