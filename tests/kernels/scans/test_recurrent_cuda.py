"""The recurrent CUDA kernels, run on the CPU by the host shim and on a GPU where there is one, equal the Numba ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.program import derive_backward, saved_states
from neuro.kernels.compiler.reference import coefficients
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.scans import recurrent_cuda, recurrent_numba
from neuro.kernels.scans.scan import ScanSpec
from neuro.neurons import LIF, CuBaLIF

OWN = Equations(
    "Own",
    "dv/dt = (x - v)*v*v / tau\nspike when v > 1\nreset value: v = -0.1*v\noutput z*v",
    {"tau": Parameter(0.02, "s", positive=True)},
)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def spec_of(equations: Equations) -> ScanSpec:
    learned = frozenset(equations.parameters)
    return ScanSpec(equations, "euler", equations.reset_kinds[0], Surrogate("atan", 0.4, 0.9), learned)


def compare(spec: ScanSpec, route: Route, shape: tuple[int, int, int], device: str) -> float:
    """Outputs equal (sums are exact), gradients to rounding; returns the share of outputs that are not zero."""
    _, batch, neurons = shape
    generator = torch.Generator().manual_seed(5)

    def draw(*size: int, scale: float = 1.0) -> Tensor:
        return torch.round(torch.randn(size, generator=generator, dtype=torch.float64) * scale * 64) / 64

    program, learned = spec.program, spec.learned_coefficients
    x, gy = draw(*shape, scale=2.0) + 15, draw(*shape)
    state, gs = draw(len(program.states), batch, neurons, scale=0.3), draw(len(program.states), batch, neurons)
    weight, before = draw(neurons, neurons), (draw(batch, neurons) > 0).double()
    values = {n: torch.full((neurons,), p.default, dtype=torch.float64) for n, p in spec.equations.parameters.items()}
    table = torch.stack([c.expand(neurons) for c in coefficients(program, values, 1e-3)])
    saved = saved_states(program, derive_backward(program, route, learned))

    expected = recurrent_numba.forward(program, x, state, table, weight, before, saved, True)
    x_, state_, table_, weight_, before_, gy_, gs_ = (t.to(device) for t in (x, state, table, weight, before, gy, gs))
    actual = recurrent_cuda.forward(program, x_, state_, table_, weight_, before_, saved, True)
    for want, got in zip(expected, actual, strict=True):
        assert torch.allclose(want, got.cpu(), rtol=1e-12, atol=1e-12)
    common = (program, route, learned, spec.surrogate)
    wanted = recurrent_numba.backward(*common, gy, gs, state, table, weight, *expected[2:])
    found = recurrent_cuda.backward(*common, gy_, gs_, state_, table_, weight_, *actual[2:])
    weights = recurrent_numba.weight_gradient(expected[0], before, wanted[0])
    weights_there = recurrent_cuda.weight_gradient(actual[0], before_, found[0])
    for want, got in zip((*wanted, weights), (*found, weights_there), strict=True):
        assert torch.allclose(want, got.cpu(), rtol=1e-10, atol=1e-10)
    return float((expected[0] != 0).double().mean()) if expected[0].numel() else 0.0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "route",
    [Route(), Route(cut_recurrence=True), Route(cut_time=True, cut_reset=False)],
    ids=["bptt", "cut", "sltt"],
)
@pytest.mark.parametrize("equations", [LIF.equations, CuBaLIF.equations], ids=lambda e: e.name)
def test_cuda_kernel_equals_numba(equations: Equations, route: Route, device: str) -> None:
    assert compare(spec_of(equations), route, (40, 3, 21), device) > 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (8, 2, 63), (0, 2, 3), (4, 0, 3)])
def test_ugly_sizes(shape: tuple[int, int, int], device: str) -> None:
    compare(spec_of(LIF.equations), Route(), shape, device)


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="no nvcc on this machine: CUDA sources are not compiled to device code"
)
@pytest.mark.parametrize("equations", [LIF.equations, OWN], ids=lambda e: e.name)
def test_sources_compile_to_device_code(equations: Equations, tmp_path: Path) -> None:
    spec = spec_of(equations)
    made = derive_backward(spec.program, Route(), spec.learned_coefficients)
    saved = saved_states(spec.program, made)
    texts = {
        "recurrent_forward": recurrent_cuda.recurrent_cuda_forward_source(spec.program, "float32", saved),
        "recurrent_backward": recurrent_cuda.recurrent_cuda_backward_source(
            spec.program, made, "float32", saved, "atan"
        ),
    }
    for name, source in texts.items():
        file, target = tmp_path / f"{name}.cu", tmp_path / f"{name}.ptx"
        file.write_text(source)
        options = ["-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings"]
        run = subprocess.run(
            ["nvcc", *options, str(file), "-o", str(target)], capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        assert name in target.read_text()
        assert "fma.rn" not in target.read_text()
