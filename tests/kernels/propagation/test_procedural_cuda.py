"""The CUDA text of connections made anew: compiles to device code; through the host shim it equals the CPU kernels."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from neuro.kernels.propagation.procedural import LAWS, Procedural, procedural_product
from neuro.kernels.propagation.procedural_cuda import KERNELS, cuda_product, procedural_source

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("number", "probability"), [(9, None), (0, None), (None, 0.2), (None, 0.001), (None, 1.0)])
def test_shim_equals_numba(number: int | None, probability: float | None, law: str, dtype: torch.dtype) -> None:
    connections = Procedural(63, 100, 2**62 + 5, number, probability, law, 0.5, 2.0)
    g = torch.Generator().manual_seed(3)
    x = ((torch.rand(4, 63, generator=g) < 0.3) * torch.randn(4, 63, generator=g)).to(dtype)
    y = torch.randn(4, 100, generator=g).to(dtype)
    close = 1e-5 if dtype == torch.float32 else 1e-12
    kind, ends = LAWS.index(law), torch.tensor([0.5, 2.0], dtype=torch.float64)
    rest = (connections.table(), (63, 100), connections.seed, -1 if number is None else number, kind, ends)
    for given, transposed in ((x, False), (y, True)):
        expected = procedural_product(given, connections, transposed=transposed)
        actual = cuda_product(given, *rest, transposed)
        assert torch.allclose(actual, expected, rtol=close, atol=close)
        if law != "normal":
            assert torch.equal(actual, expected)


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="no nvcc on this machine: CUDA sources are not compiled to device code"
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiles_to_device_code(dtype: torch.dtype, tmp_path: Path) -> None:
    file, target = tmp_path / "procedural.cu", tmp_path / "procedural.ptx"
    file.write_text(procedural_source(dtype))
    command = ["nvcc", "-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings", str(file), "-o", str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert all(name in target.read_text() for name in KERNELS)
