"""The CUDA text of send-on-delta: compiles to device code; through the host shim it equals the reference."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from neuro.kernels.propagation.csr_cuda import launch
from neuro.kernels.scans.send_on_delta import send_on_delta_reference
from neuro.kernels.scans.send_on_delta_cuda import send_on_delta_source

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (40, 2, 63), (7, 3, 100)])
def test_shim_equals_the_reference(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(8), dtype=dtype).mul(0.3).cumsum(0)
    start, step = torch.full(shape[1:], 0.1, dtype=dtype), torch.full((1,), 0.37, dtype=dtype)
    out = torch.full((shape[0], shape[1], 2, shape[2]), float("nan"), dtype=dtype)
    launch(send_on_delta_source(dtype), "send_on_delta", start.numel(), [x, start, step, out], shape)
    assert torch.equal(out, send_on_delta_reference(x, start, 0.37))


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="no nvcc on this machine: CUDA sources are not compiled to device code"
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiles_to_device_code(dtype: torch.dtype, tmp_path: Path) -> None:
    file, target = tmp_path / "send.cu", tmp_path / "send.ptx"
    file.write_text(send_on_delta_source(dtype))
    command = ["nvcc", "-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings", str(file), "-o", str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "send_on_delta" in target.read_text()
