"""CUDA sources compile to device code without a warning and without fused multiply-adds."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from neuro.kernels.compiler.cuda_source import AHEAD, cuda_backward_source, cuda_forward_source
from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.program import compile_program, derive_backward, saved_states
from neuro.kernels.compiler.route import Route
from neuro.neurons import CELLS, LI, LIF, CuBaLIF

OWN = Equations(
    "Own",
    "dv/dt = (x - v)*v*v / tau\nspike when v > 1\nreset value: v = -0.1*v\noutput z*v",
    {"tau": Parameter(0.02, "s", positive=True)},
)
KINDS = (LIF.equations, CuBaLIF.equations, LI.equations, OWN)
MORE = tuple(cell.equations for cell in CELLS.values() if cell.equations not in KINDS)


def sources(equations: Equations, dtype: str) -> dict[str, str]:
    program = compile_program(equations, "euler", equations.reset_kinds[0])
    learned = program.learned(frozenset(equations.parameters))
    backward = derive_backward(program, Route(), learned)
    saved = saved_states(program, backward)
    return {
        "scan_forward": cuda_forward_source(program, dtype, saved),
        "scan_backward": cuda_backward_source(program, backward, dtype, saved, "atan"),
    }


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="no nvcc on this machine: CUDA sources are not compiled to device code"
)
@pytest.mark.parametrize(
    ("equations", "dtype"),
    [(e, d) for e in KINDS for d in ("float32", "float64")] + [(e, "float32") for e in MORE],
    ids=lambda v: v.name if isinstance(v, Equations) else v,
)
def test_sources_compile_to_device_code(equations: Equations, dtype: str, tmp_path: Path) -> None:
    for name, source in sources(equations, dtype).items():
        file = tmp_path / f"{name}.cu"
        file.write_text(source)
        target = tmp_path / f"{name}.ptx"
        made = subprocess.run(
            ["nvcc", "-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings", str(file), "-o", str(target)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        assert name in target.read_text()
        if "exp(" not in source:  # the device's own exponential is made of them
            assert "fma.rn" not in target.read_text()


def test_the_text_says_its_type_and_how_far_it_reads_ahead() -> None:
    made = sources(LIF.equations, "float64")
    assert all(text.startswith("typedef double real;") for text in made.values())
    assert f"real ahead_x[{AHEAD}];" in made["scan_forward"]
    assert "float" not in made["scan_forward"]
