"""The CUDA text of closed-form cells: compiles to device code; through the host shim it equals the CPU's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from neuro.kernels.liquid import cfc_cuda, cfc_numba
from neuro.kernels.liquid.cfc import MODES, run_backward, run_forward

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", range(3), ids=MODES)
@pytest.mark.parametrize("shape", [(4, 5, 3, 63), (1, 1, 1, 1), (0, 2, 2, 3)])
def test_shim_equals_numba(shape: Any, mode: int, dtype: torch.dtype, problems: Any) -> None:
    tensors = [t.detach() for t in problems.cfc(shape, MODES[mode], dtype)]
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    whole: Any = (*tensors, mode, True)
    made, wanted = (run_forward(m.forward_steps, *whole) for m in (cfc_cuda, cfc_numba))
    assert problems.near(made[0], wanted[0], tolerance)
    grad = torch.randn(made[0].shape, generator=torch.Generator().manual_seed(3), dtype=dtype)
    _, first, elapsed, w_state, w_heads, _, extra = tensors
    given = (grad, first, elapsed, w_state, w_heads, extra, *wanted, mode)
    grads = run_backward(cfc_cuda.backward_steps, *given), run_backward(cfc_numba.backward_steps, *given)
    assert all(problems.near(a, b, tolerance) for a, b in zip(*grads, strict=True))


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="no nvcc on this machine: CUDA sources are not compiled to device code"
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiles_to_device_code(dtype: torch.dtype, tmp_path: Path) -> None:
    file, target = tmp_path / "cfc.cu", tmp_path / "cfc.ptx"
    file.write_text(cfc_cuda.cfc_source(dtype))
    command = ["nvcc", "-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings", str(file), "-o", str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert all(name in target.read_text() for name in cfc_cuda.KERNELS)
