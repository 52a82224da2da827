"""The CUDA text of learnable delays: compiles to device code; through the host shim it equals the reference."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from neuro.kernels.delays.delayed_cuda import KERNELS, cuda_backward, cuda_forward, delayed_source
from neuro.kernels.delays.delayed_linear import delayed_reference

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "post", "taps", "sigma"), [((1, 1, 1), 1, 1, 0.5), ((4, 3, 63), 20, 5, 1.3), ((3, 2, 7), 130, 25, 1e-3)]
)
def test_shim_equals_the_reference(
    shape: tuple[int, int, int], post: int, taps: int, sigma: float, dtype: torch.dtype
) -> None:
    g = torch.Generator().manual_seed(5)
    x = torch.randn(shape[0] + taps - 1, *shape[1:], generator=g, dtype=dtype)
    x = x * (torch.rand(x.shape, generator=g) < 0.3)
    weight = torch.randn(post, shape[2], generator=g, dtype=dtype).requires_grad_()
    delay = ((taps + 1) * torch.rand(post, shape[2], generator=g, dtype=dtype) - 1).requires_grad_()
    expected = delayed_reference(x, weight, delay, sigma, taps)
    grad = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (weight, delay), grad)
    columns = (weight.detach().t().contiguous(), delay.detach().t().contiguous())
    bound = 2e-4 if dtype == torch.float32 else 1e-10
    assert torch.allclose(cuda_forward(x, *columns, sigma, taps), expected, rtol=bound, atol=bound)
    if sigma > 0.01:  # a narrow tap's derivative is 0 or, between two steps, too steep for float32
        for have, want in zip(cuda_backward(x, *columns, sigma, grad.contiguous(), taps), wanted, strict=True):
            assert torch.allclose(have.t(), want, rtol=bound, atol=bound)


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="no nvcc on this machine: CUDA sources are not compiled to device code"
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiles_to_device_code(dtype: torch.dtype, tmp_path: Path) -> None:
    file, target = tmp_path / "delayed.cu", tmp_path / "delayed.ptx"
    file.write_text(delayed_source(dtype))
    command = ["nvcc", "-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings", str(file), "-o", str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    text = target.read_text()
    assert all(name in text for name in KERNELS)
