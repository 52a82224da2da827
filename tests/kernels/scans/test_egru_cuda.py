"""The CUDA text of event-based gated units: compiles to device code; through the host shim it equals the CPU's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.scans import egru_cuda, egru_numba
from neuro.kernels.scans.egru import run_backward, run_forward

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("route", [Route(cut_reset=False), Route(cut_time=True)], ids=["whole", "cut"])
@pytest.mark.parametrize("shape", [(4, 5, 63), (1, 1, 1), (0, 2, 3)])
def test_shim_equals_numba(shape: tuple[int, int, int], route: Route, dtype: torch.dtype) -> None:
    time, batch, n = shape
    g = torch.Generator().manual_seed(1)
    sizes = ((time, batch, 3 * n), (batch, n), (batch, n), (3 * n, n), (3 * n,), (n,))
    tensors: Any = [torch.randn(size, generator=g, dtype=dtype) for size in sizes]
    tensors[3] /= n**0.5
    tensors[5] = 0.1 + tensors[5] / 10
    whole: Any = (*tensors, True)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    made, wanted = (run_forward(m.forward_steps, *whole) for m in (egru_cuda, egru_numba))
    assert all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in zip(made, wanted, strict=True))
    out, state, seen, gates = wanted
    grads = torch.randn(out.shape, generator=g, dtype=dtype), torch.randn(state.shape, generator=g, dtype=dtype)
    _, first, output, weight, _, threshold = tensors
    given = (*grads, first, output, weight, threshold, out, seen, gates, Surrogate("triangle", 0.8, 0.7), route)
    pairs = zip(*(run_backward(m.backward_steps, *given) for m in (egru_cuda, egru_numba)), strict=True)
    assert all(torch.allclose(a, b, rtol=10 * tolerance, atol=10 * tolerance) for a, b in pairs)


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="no nvcc on this machine: CUDA sources are not compiled to device code"
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiles_to_device_code(dtype: torch.dtype, tmp_path: Path) -> None:
    file, target = tmp_path / "egru.cu", tmp_path / "egru.ptx"
    file.write_text(egru_cuda.egru_source(dtype))
    command = ["nvcc", "-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings", str(file), "-o", str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert all(name in target.read_text() for name in egru_cuda.KERNELS)
