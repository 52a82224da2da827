"""The shim runs every thread of every block, once."""

from __future__ import annotations

import ctypes

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.engines.host_shim import HostModule

SOURCE = """
extern "C" __global__ void mark(float* out, long long n, float step)
{
    const long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (k < n) out[k] += step * k;
    if (k == 0) atomicAdd(&out[n], (float)gridDim.x);
}
"""


def test_every_thread_runs_once() -> None:
    out = torch.zeros(11)
    kernel = HostModule(SOURCE, "mark", ["float*", "long long", "float"])
    kernel(3, 4, [ctypes.c_void_p(out.data_ptr()), ctypes.c_longlong(10), ctypes.c_float(0.5)])
    assert out.tolist() == [0.5 * k for k in range(10)] + [3.0]


def test_no_compiler_is_said_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(InputError, match="install g"):
        HostModule(SOURCE + "// never seen before", "mark", ["float*", "long long", "float"])
