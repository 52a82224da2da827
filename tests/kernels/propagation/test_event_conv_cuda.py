"""The CUDA text of event-driven convolution: compiles to device code; through the host shim it equals torch."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from neuro.kernels.propagation.event_conv_cuda import conv_source, cuda_conv, cuda_conv_weight_grad

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("steps", [(1, 1, 0, 0), (2, 1, 1, 2), (3, 2, 0, 1)])
@pytest.mark.parametrize("size", [(1, 1, 3, 3), (3, 2, 9, 8), (0, 2, 5, 5)])
def test_shim_equals_torch(
    size: tuple[int, int, int, int], steps: tuple[int, int, int, int], dtype: torch.dtype
) -> None:
    g = torch.Generator().manual_seed(3)
    x = ((torch.rand(size, generator=g) < 0.4) * torch.randn(size, generator=g)).to(dtype)
    weight = torch.randn(4, size[1], 3, 2, generator=g).to(dtype)
    wanted = F.conv2d(x, weight, None, steps[:2], steps[2:])
    out = torch.ones_like(wanted)
    cuda_conv(x, weight, out, steps)
    assert torch.allclose(out - 1, wanted, rtol=1e-4, atol=1e-5)
    grad, made = torch.randn(wanted.shape, generator=g).to(dtype), torch.full_like(weight, 7)
    cuda_conv_weight_grad(x, grad, made, steps)
    exact = conv2d_weight(x, list(weight.shape), grad, steps[:2], steps[2:])
    assert torch.allclose(made, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="no nvcc on this machine: CUDA sources are not compiled to device code"
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiles_to_device_code(dtype: torch.dtype, tmp_path: Path) -> None:
    file, target = tmp_path / "conv.cu", tmp_path / "conv.ptx"
    file.write_text(conv_source(dtype))
    command = ["nvcc", "-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings", str(file), "-o", str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert all(name in target.read_text() for name in ("conv_scatter", "conv_weight_grad"))
