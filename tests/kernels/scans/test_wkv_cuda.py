"""The CUDA text of WKV: compiles to device code; through the host shim it equals the definition."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from neuro.kernels.scans.wkv import wkv_reference
from neuro.kernels.scans.wkv_cuda import cuda_wkv, cuda_wkv_backward, wkv_source

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("time", "lanes", "cut_time"), [(1, 1, False), (7, 200, False), (0, 4, False), (5, 9, True)])
def test_shim_equals_the_definition(time: int, lanes: int, cut_time: bool, dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(3)
    shapes = ((time, 1, lanes), (time, 1, lanes), (lanes,), (lanes,), (1, lanes), (1, lanes))
    leaves: list[Any] = [torch.randn(s, generator=g).to(dtype).requires_grad_() for s in shapes]
    defined: Any = wkv_reference
    y, mean, weight = defined(*leaves, cut_time)
    flat: list[Any] = [
        t.detach().reshape(*t.shape[:1], lanes) if t.dim() == 3 else t.detach().flatten() for t in leaves
    ]
    out = torch.full((time, lanes), 7, dtype=dtype)
    means, weights = (torch.cat([t.view(1, lanes), out + 1]) for t in flat[4:])
    forward: Any = cuda_wkv
    forward(*flat[:4], out, means, weights)
    wanted = (y, mean, weight)
    close: Any = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-11, "atol": 1e-12}
    for made, exact in zip((out, means[-1], weights[-1]), wanted, strict=True):
        assert torch.allclose(made, exact.view(made.shape), **close)
    upon = [torch.randn(w.shape, generator=g).to(dtype) for w in wanted]
    exact_grads = torch.autograd.grad(wanted, leaves, upon, allow_unused=True, materialize_grads=True)
    grad_k, grad_v, sums = torch.full_like(out, 7), torch.full_like(out, 7), torch.zeros((2, lanes), dtype=dtype)
    carried = torch.cat([upon[1], upon[2]])
    tensors: Any = (upon[0].view(time, lanes), *flat[:4], means, weights, grad_k, grad_v, sums, carried)
    backward: Any = cuda_wkv_backward
    backward(*tensors, cut_time)
    for made, exact in zip((grad_k, grad_v, *sums, *carried), exact_grads, strict=True):
        assert torch.allclose(made, exact.view(made.shape), **close)


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="no nvcc on this machine: CUDA sources are not compiled to device code"
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiles_to_device_code(dtype: torch.dtype, tmp_path: Path) -> None:
    file, target = tmp_path / "wkv.cu", tmp_path / "wkv.ptx"
    file.write_text(wkv_source(dtype))
    command = ["nvcc", "-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings", str(file), "-o", str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert all(name in target.read_text() for name in ("wkv_forward", "wkv_backward"))
