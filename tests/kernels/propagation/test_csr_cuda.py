"""The CUDA text of propagation: compiles to device code; through the host shim it equals the CPU kernels."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from neuro.kernels.propagation.csr import CSR
from neuro.kernels.propagation.csr_cuda import KERNELS, csr_source, cuda_grad_input, cuda_grad_weight, cuda_scatter
from neuro.kernels.propagation.propagate import propagate

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("delays", "own"), [(2, False), (4, True)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 3, 63), (0, 2, 9)])
def test_shim_equals_numba(
    shape: tuple[int, int, int], delays: int, own: bool, shared: bool, dtype: torch.dtype
) -> None:
    g = torch.Generator().manual_seed(5)
    targets = torch.randint(0, 20, (shape[2], 6), generator=g, dtype=torch.int32)
    steps = torch.randint(0, delays + 1, targets.shape, generator=g, dtype=torch.int32) if own else delays
    connections = CSR.fixed_number(targets, 20, delay=steps, max_delay=delays)
    weight = torch.randn(1 if shared else connections.synapses, generator=g, dtype=dtype).requires_grad_()
    x = ((torch.rand(shape, generator=g) < 0.3) * torch.randn(shape, generator=g)).to(dtype).requires_grad_()
    state = torch.randn(delays + 1, shape[1], 20, generator=g, dtype=dtype)
    y, end = propagate(x, connections, weight, state)
    expected = torch.cat([y, end])
    grad = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (x, weight), grad)

    delay = torch.as_tensor(connections.delay, dtype=torch.int32).reshape(-1)
    given = (connections.indptr, connections.indices, weight.detach(), delay)
    arrivals = torch.cat([state, torch.zeros_like(y)])
    cuda_scatter(x.detach(), *given, arrivals)
    assert torch.equal(arrivals, expected)
    assert torch.equal(cuda_grad_input(grad, *given, shape[0]), wanted[0])
    each = cuda_grad_weight(x.detach(), grad, connections.rows(), connections.indices, delay)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert torch.allclose(each.sum().reshape(1) if shared else each, wanted[1], rtol=tolerance, atol=tolerance)


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="no nvcc on this machine: CUDA sources are not compiled to device code"
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiles_to_device_code(dtype: torch.dtype, tmp_path: Path) -> None:
    file, target = tmp_path / "csr.cu", tmp_path / "csr.ptx"
    file.write_text(csr_source(dtype))
    command = ["nvcc", "-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings", str(file), "-o", str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    text = target.read_text()
    assert all(name in text for name in KERNELS)
    assert "fma.rn" not in text
