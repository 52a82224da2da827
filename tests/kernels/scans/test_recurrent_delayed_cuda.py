"""The CUDA kernels of the recurrent scan with delays, on the CPU by the host shim and on a GPU where there is one, equal the Numba ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

from neuro.kernels.compiler.equations import Equations
from neuro.kernels.compiler.program import derive_backward, saved_states
from neuro.kernels.compiler.reference import coefficients
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.scans import recurrent_delayed_cuda, recurrent_delayed_numba
from neuro.kernels.scans.recurrent_delayed import delayed_bank
from neuro.kernels.scans.scan import ScanSpec
from neuro.neurons import LIF, CuBaLIF

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def spec_of(equations: Equations) -> ScanSpec:
    learned = frozenset(equations.parameters)
    return ScanSpec(equations, "euler", equations.reset_kinds[0], Surrogate("atan", 0.4, 0.9), learned)


def compare(spec: ScanSpec, route: Route, shape: tuple[int, int, int], lags: int, rounded: bool, device: str) -> float:
    """Outputs equal (sums are exact), gradients to rounding; returns the share of outputs that are not zero."""
    _, batch, neurons = shape
    generator = torch.Generator().manual_seed(5)

    def draw(*size: int, scale: float = 1.0) -> Tensor:
        return torch.round(torch.randn(size, generator=generator, dtype=torch.float64) * scale * 64) / 64

    program, learned = spec.program, spec.learned_coefficients
    x, gy = draw(*shape, scale=2.0) + 15, draw(*shape)
    state, gs = draw(len(program.states), batch, neurons, scale=0.3), draw(len(program.states), batch, neurons)
    before = (draw(lags, batch, neurons) > 0).double()
    steps = torch.randint(1, lags + 1, (neurons, neurons), generator=generator, dtype=torch.int32)
    weight = draw(neurons, neurons)
    bank = delayed_bank(weight, steps, lags) if rounded else draw(lags, neurons, neurons)
    table, steps = (weight, steps) if rounded else (bank, torch.empty((0, 0), dtype=torch.int32))
    values = {n: torch.full((neurons,), p.default, dtype=torch.float64) for n, p in spec.equations.parameters.items()}
    constants = torch.stack([c.expand(neurons) for c in coefficients(program, values, 1e-3)])
    saved = saved_states(program, derive_backward(program, route, learned))

    x_, state_, constants_, table_, steps_, before_, gy_, gs_, bank_ = (
        t.to(device) for t in (x, state, constants, table, steps, before, gy, gs, bank)
    )
    expected = recurrent_delayed_numba.forward(program, x, state, constants, table, steps, before, saved, True)
    actual = recurrent_delayed_cuda.forward(program, x_, state_, constants_, table_, steps_, before_, saved, True)
    for want, got in zip(expected, actual, strict=True):
        assert torch.allclose(want, got.cpu(), rtol=1e-12, atol=1e-12)
    common = (program, route, learned, spec.surrogate)
    wanted = recurrent_delayed_numba.backward(*common, gy, gs, state, constants, bank, *expected[2:])
    found = recurrent_delayed_cuda.backward(*common, gy_, gs_, state_, constants_, bank_, *actual[2:])
    banks = recurrent_delayed_numba.bank_gradient(expected[0], before, wanted[0])
    banks_there = recurrent_delayed_cuda.bank_gradient(actual[0], before_, found[0])
    for want, got in zip((*wanted, banks), (*found, banks_there), strict=True):
        assert torch.allclose(want, got.cpu(), rtol=1e-10, atol=1e-10)
    return float((expected[0] != 0).double().mean()) if expected[0].numel() else 0.0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("route", [Route(), Route(cut_recurrence=True)], ids=["bptt", "cut"])
@pytest.mark.parametrize("equations", [LIF.equations, CuBaLIF.equations], ids=lambda e: e.name)
def test_cuda_kernel_equals_numba(equations: Equations, route: Route, rounded: bool, device: str) -> None:
    assert compare(spec_of(equations), route, (20, 3, 21), 4, rounded, device) > 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 63), (0, 2, 3), (4, 0, 3)])
def test_ugly_sizes(shape: tuple[int, int, int], device: str) -> None:
    compare(spec_of(LIF.equations), Route(), shape, 5, False, device)
    compare(spec_of(LIF.equations), Route(), shape, 5, True, device)


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="no nvcc on this machine: CUDA sources are not compiled to device code"
)
@pytest.mark.parametrize("rounded", [False, True])
def test_sources_compile_to_device_code(rounded: bool, tmp_path: Path) -> None:
    program = spec_of(CuBaLIF.equations).program
    source = recurrent_delayed_cuda.delayed_cuda_forward_source(program, "float32", (0, 1), rounded)
    file, target = tmp_path / "kernel.cu", tmp_path / "kernel.ptx"
    file.write_text(source)
    options = ["-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings"]
    run = subprocess.run(["nvcc", *options, str(file), "-o", str(target)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "delayed_forward" in target.read_text()
    assert "fma.rn" not in target.read_text()
