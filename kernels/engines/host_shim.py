"""Run CUDA sources on the CPU: the kernel text unchanged, thread by thread.

``__global__`` and the block and thread indices become plain C++, compiled by the system's
compiler. Slow by design; it tests the arithmetic and the indexing of kernels where no GPU is.
Kernels that synchronise threads of a block are out of its reach.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from neuro.errors import InputError
from neuro.files import cache_folder

__all__ = ["HostModule"]

_PRELUDE = """#include <cmath>
#include <cstdint>
using namespace std;
#define __global__
#define __device__
struct Index3 { unsigned x, y, z; };
static thread_local Index3 blockIdx, blockDim, threadIdx, gridDim;
template <typename T> T atomicAdd(T* address, T value) { T old = *address; *address += value; return old; }
template <typename T> T atomicMax(T* address, T value) { T old = *address; if (value > old) *address = value; return old; }
"""
_LAUNCH = """
extern "C" void launch_{name}(unsigned grid, unsigned block, void** a)
{{
    gridDim.x = grid; blockDim.x = block;
    for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < block; ++threadIdx.x)
            {name}({arguments});
}}
"""


@lru_cache(maxsize=256)
def _library(source: str, flags: tuple[str, ...]) -> ctypes.CDLL:
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise InputError("the host shim needs a C++ compiler: install g++, or set CXX")
    digest = hashlib.sha256("\0".join((compiler, source, *flags)).encode()).hexdigest()[:20]
    path = cache_folder("host_shim") / f"{digest}.so"
    if not path.exists():
        text = path.with_suffix(".cpp")
        text.write_text(source)
        made = path.with_name(f"{digest}.{os.getpid()}.so")
        # No contraction: a fused multiply-add would round unlike the reference.
        command = [compiler, "-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wno-unknown-pragmas", "-fPIC"]
        subprocess.run([*command, *flags, "-shared", str(text), "-o", str(made)], check=True, capture_output=True)
        Path(made).replace(path)
    return ctypes.CDLL(str(path))


class HostModule:
    """One CUDA source, compiled for the CPU.

    Args:
        source: CUDA C++ text with ``extern "C" __global__`` kernels.
        kernel: name of the kernel to launch.
        types: C types of its arguments in order, such as ``"const float*"`` or ``"long long"``.
        flags: further compiler flags (sanitizers).
    """

    def __init__(self, source: str, kernel: str, types: Sequence[str], flags: tuple[str, ...] = ()) -> None:
        arguments = ", ".join(f"*({t}*)a[{k}]" for k, t in enumerate(types))
        launch = _LAUNCH.format(name=kernel, arguments=arguments)
        self._launch = getattr(_library(_PRELUDE + source + launch, flags), f"launch_{kernel}")
        self._n = len(types)

    def __call__(self, grid: int, block: int, arguments: Sequence[Any]) -> None:
        """Run all ``grid * block`` threads, one after the other."""
        pointers = (ctypes.c_void_p * self._n)(*(ctypes.addressof(a) for a in arguments))
        self._launch(ctypes.c_uint(grid), ctypes.c_uint(block), pointers)
