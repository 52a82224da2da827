"""The CUDA text of the causal filter: compiles to device code; through the host shim it equals the definition."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from neuro.kernels.scans.parallel import filter_reference
from neuro.kernels.scans.parallel_cuda import cuda_filter, cuda_filter_backward, filter_source

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("time", "lanes", "taps"), [(1, 1, 1), (7, 200, 3), (0, 4, 2), (5, 0, 2)])
def test_shim_equals_the_definition(time: int, lanes: int, taps: int, dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(3)
    shapes = ((time + taps - 1, lanes), (taps,), ())
    x, weight, bias = (torch.randn(s, generator=g).to(dtype).requires_grad_() for s in shapes)
    wanted = filter_reference(x, weight, bias)
    out = torch.full((time, lanes), 7, dtype=dtype)
    cuda_filter(x.detach(), weight.detach(), bias.detach(), out)
    assert torch.allclose(out, wanted, rtol=1e-5, atol=1e-5)
    grad = torch.randn(time, lanes, generator=g).to(dtype)
    grad_x, each = torch.full_like(x, 7), torch.full((lanes, taps), 7, dtype=dtype)
    cuda_filter_backward(grad, x.detach(), weight.detach(), grad_x, each)
    exact_x, exact_weight = torch.autograd.grad(wanted, (x, weight), grad)
    if lanes:
        assert torch.allclose(grad_x, exact_x, rtol=1e-4, atol=1e-5)
    assert torch.allclose(each.sum(0), exact_weight, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="no nvcc on this machine: CUDA sources are not compiled to device code"
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiles_to_device_code(dtype: torch.dtype, tmp_path: Path) -> None:
    file, target = tmp_path / "filter.cu", tmp_path / "filter.ptx"
    file.write_text(filter_source(dtype))
    command = ["nvcc", "-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings", str(file), "-o", str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert all(name in target.read_text() for name in ("causal_filter", "causal_filter_backward"))
