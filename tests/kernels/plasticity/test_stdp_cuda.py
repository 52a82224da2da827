"""The CUDA text of plasticity: compiles to device code; through the host shim it equals the reference."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neuro.kernels.plasticity.law import TimingLaw
from neuro.kernels.plasticity.modulated import ModulatedState, modulated_reference
from neuro.kernels.plasticity.sides import limits_of, numbers
from neuro.kernels.plasticity.stdp import stdp_reference
from neuro.kernels.plasticity.stdp_cuda import KERNELS, cuda_change, cuda_modulated, cuda_trace_steps, stdp_source
from neuro.kernels.propagation.csr import CSR

DTYPES = [torch.float32, torch.float64]
PAIR = TimingLaw(0.03, 0.02, 17e-3, 34e-3, nearest_post=True)
LAWS = [
    PAIR,
    replace(PAIR, a3_plus=0.1, a3_minus=0.05, w_min=0.1, w_max=0.9),
    replace(PAIR, w_min=0.0, w_max=1.0, mu_plus=1.0, mu_minus=0.4),
]
Pair = tuple[torch.Tensor, torch.Tensor]


def carried(x: torch.Tensor, law: TimingLaw, *, post: bool) -> tuple[Pair, torch.Tensor]:
    """Trace and amplitude of one side, and its traces at the end."""
    decay = law.post_decay() if post else law.pre_decay()
    size = numbers(law)[2:4] if post else numbers(law)[:2]
    state, trace, amplitude = x.new_zeros(len(decay), *x.shape[1:]), torch.empty_like(x), torch.empty_like(x)
    nearest = law.nearest_post if post else law.nearest_pre
    cuda_trace_steps(x, state, x.new_tensor(decay), x.new_tensor(size), nearest, trace, amplitude)
    return (trace, amplitude), state


def given(dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(4)
    x = (torch.rand(20, 2, 30, generator=g) < 0.2).to(dtype)
    z = (torch.rand(20, 2, 13, generator=g) < 0.2).to(dtype)
    return 0.2 + 0.6 * torch.rand(13, 30, generator=g, dtype=dtype), x, z, torch.randn(20, 2, 13, generator=g).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("form", ["rows", "columns", "sparse"])
def test_shim_equals_the_reference(form: str, law: TimingLaw, dtype: torch.dtype) -> None:
    weight, x, z, m = given(dtype)
    (pre, pre_end), (post, post_end) = carried(x, law, post=False), carried(z, law, post=True)
    connections, places = None, None
    own, other, sign = (post, pre, 1) if form == "rows" else (pre, post, -1)
    if form == "sparse":
        connections, weight = CSR.of((weight * (weight > 0.5)).t().contiguous())
        places = (connections.rows().int(), connections.indices)
    matrix = weight.t().contiguous() if form == "columns" else weight.clone()
    cuda_change(matrix, places, own, other, limits_of(numbers(law), weight), sign)
    first = law.initial(2, 30, 13, x)
    wanted, traces = stdp_reference(weight, x, z, law, first, connections)
    close = 2e-6 if dtype == torch.float32 else 1e-12
    for have, want in (
        (matrix.t() if form == "columns" else matrix, wanted),
        (pre_end, traces.pre),
        (post_end, traces.post),
    ):
        assert torch.allclose(have, want, rtol=close, atol=close)
    assert (wanted - weight).abs().max() > 0.01

    matrix = weight.t().contiguous() if form == "columns" else weight.clone()
    held = torch.zeros(2, *matrix.shape, dtype=dtype)
    limits, m = limits_of(numbers(law), weight), 0.1 * m
    cuda_modulated(matrix, held, places, own, other, m, weight.new_tensor([0.9]), limits, sign)
    state = ModulatedState(first, torch.zeros(2, *weight.shape, dtype=dtype), torch.ones((), dtype=torch.float64))
    wanted, after = modulated_reference(weight, x, z, m, law, 0.9, state, connections)
    turn = form == "columns"
    for have, want in ((matrix.t() if turn else matrix, wanted), (held.mT if turn else held, after.eligibility)):
        assert torch.allclose(have, want, rtol=close, atol=close)


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="no nvcc on this machine: CUDA sources are not compiled to device code"
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiles_to_device_code(dtype: torch.dtype, tmp_path: Path) -> None:
    file, target = tmp_path / "stdp.cu", tmp_path / "stdp.ptx"
    file.write_text(stdp_source(dtype))
    command = ["nvcc", "-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings", str(file), "-o", str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert all(name in target.read_text() for name in KERNELS)
