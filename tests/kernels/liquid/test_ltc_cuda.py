"""The CUDA text of liquid time-constant cells: compiles to device code; through the host shim it equals the CPU's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from neuro.kernels.liquid import ltc_cuda, ltc_numba

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 17, 3, 9, 0.6), (1, 1, 1, 1, 1.0), (3, 2, 2, 5, 0.0), (0, 2, 2, 3, 1.0)])
def test_shim_equals_numba(shape: Any, dtype: torch.dtype, problems: Any) -> None:
    tensors, *reaches = problems.ltc(shape, dtype)
    given = (*(t.detach() for t in tensors), *reaches[0], *reaches[1])
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    out, wanted = ltc_cuda.forward(given, 3), ltc_numba.forward(given, 3)
    assert problems.near(out, wanted, tolerance)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(3), dtype=dtype)
    grads = ltc_cuda.backward(given, 3, wanted, grad), ltc_numba.backward(given, 3, wanted, grad)
    assert all(problems.near(a, b, tolerance) for a, b in zip(*grads, strict=True))


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="no nvcc on this machine: CUDA sources are not compiled to device code"
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiles_to_device_code(dtype: torch.dtype, tmp_path: Path) -> None:
    file, target = tmp_path / "ltc.cu", tmp_path / "ltc.ptx"
    file.write_text(ltc_cuda.ltc_source(dtype))
    command = ["nvcc", "-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings", str(file), "-o", str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert all(name in target.read_text() for name in ltc_cuda.KERNELS)
