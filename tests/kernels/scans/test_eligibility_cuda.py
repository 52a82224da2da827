"""The CUDA text of eligibility traces: compiles to device code; through the host shim it equals the definition."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from neuro.kernels.scans.eligibility import sweep_reference
from neuro.kernels.scans.eligibility_cuda import cuda_sweep, sweep_source

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (6, 2, 3, 65), (4, 3, 1, 200), (0, 2, 3, 4)])
@pytest.mark.parametrize("states", [1, 3])
def test_shim_equals_the_definition(states: int, sizes: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(3)
    time, batch, neurons, inputs = sizes
    shapes = [(states, states, time, batch, neurons), *[(states, time, batch, neurons)] * 2, (time, batch, neurons)]
    given = [torch.randn(s, generator=g).to(dtype) for s in (*shapes, (time, batch, inputs), (time, batch, neurons))]
    trace = torch.randn(states, batch, neurons, inputs, generator=g).to(dtype)
    a, b, c, d, u, signal = given
    wanted_grad, wanted = sweep_reference(a, b, c, d, u, signal, trace)
    grad = torch.ones(neurons, inputs, dtype=dtype)
    cuda_sweep(a, b, c, d, u, signal, trace, grad)
    tolerance = 1e-3 if dtype == torch.float32 else 1e-11
    assert torch.allclose(grad - 1, wanted_grad, rtol=tolerance, atol=tolerance)
    assert torch.allclose(trace, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="no nvcc on this machine: CUDA sources are not compiled to device code"
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiles_to_device_code(dtype: torch.dtype, tmp_path: Path) -> None:
    file, target = tmp_path / "sweep.cu", tmp_path / "sweep.ptx"
    file.write_text(sweep_source(dtype, 3))
    command = ["nvcc", "-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings", str(file), "-o", str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "eligibility_sweep" in target.read_text()
