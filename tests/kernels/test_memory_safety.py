"""The tests of all kernels once more, on the look-out: no read or write outside an array, no undefined behaviour.

CUDA text runs through the host shim under AddressSanitizer and UBSan, Numba loops with bounds checks. A new test file
of CUDA text is found by its name; a room of kernels is one word of ``ROOMS``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CUDA = (*sorted(HERE.rglob("test_*_cuda.py")), HERE / "engines" / "test_cuda_backend.py")
ROOMS = ("engines", "scans", "propagation", "events", "delays", "plasticity", "liquid")
# Every cell compiles anew with bounds checks: of the scans those sizes and layouts where an index could go astray.
CHOICE = MappingProxyType({"engines": "not process", "scans": "ugly or contiguous or layouts or activity or trace"})
UNDER_SANITIZERS = """
import sys
import pytest
from neuro.kernels.engines import host_shim
library, flags = host_shim._library, ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
host_shim._library = lambda source, given: library(source, (*given, *flags))
"""
CHILD = UNDER_SANITIZERS + "sys.exit(pytest.main(sys.argv[1:]))"
WRONG = (
    UNDER_SANITIZERS
    + """
import ctypes
source = 'extern "C" __global__ void wrong(int* a, int n) { BODY; }'
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
memory = ctypes.c_void_p(libc.malloc(16))
host_shim.HostModule(source, "wrong", ["int*", "int"])(1, 1, [memory, ctypes.c_int(2147483647)])
"""
)
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="no g++ on this machine: the sanitizers are part of it"
)


def sanitized(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``code`` in a fresh interpreter with the run-time part of AddressSanitizer."""
    library = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    environment = os.environ | {
        "LD_PRELOAD": str(Path(library.stdout.strip()).resolve()),
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_compiler
def test_cuda_text_is_clean_under_sanitizers() -> None:
    options = ("-q", "-x", "-m", "not slow and not gpu", "-k", "not device_code", "-p", "no:cacheprovider")
    ran = sanitized(CHILD, *options, *map(str, CUDA))
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(
    ("body", "text"),
    [("a[4] = n", "heap-buffer-overflow"), ("a[0] = n + 1", "signed integer overflow"), ("a[0] = n", "")],
)
def test_the_sanitizers_catch_what_they_are_hung_out_for(body: str, text: str) -> None:
    ran = sanitized(WRONG.replace("BODY", body))
    assert (ran.returncode != 0) == bool(text)
    assert text in ran.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("room", ROOMS)
def test_no_loop_leaves_its_arrays(room: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = tmp_path_factory.getbasetemp() / "bounds"
    environment = os.environ | {
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": str(cache),
        "NEURO_CACHE": str(cache),
    }
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    choice = ["-m", "not slow and not gpu", "-k", f"not cuda and ({CHOICE.get(room, 'test')})", str(HERE / room)]
    ran = subprocess.run([*command, *choice], env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-3000:]
