"""Recordings drawn at random, as records and as columns; CUDA text to device code."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from neuro.kernels.events.columns import Columns
from neuro.kernels.events.records import RECORD


@pytest.fixture
def recording() -> Callable[..., NDArray[np.void]]:
    """``recording(number, size, end)``: events in order of time, before ``end`` microseconds."""

    def make(number: int, size: tuple[int, int, int], end: int = 1000) -> NDArray[np.void]:
        rng = np.random.default_rng(number)
        events = np.zeros(number, RECORD)
        for name, high in zip(("t", "x", "y", "p"), (end, size[0], size[1], 2), strict=True):
            events[name] = rng.integers(0, high, number)
        return np.sort(events, order="t")

    return make


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def columns(request: pytest.FixtureRequest) -> Callable[[NDArray[np.void]], Columns]:
    """``columns(events)``: on the CPU (the host shim), and on a GPU where there is one."""

    def make(events: NDArray[np.void]) -> Columns:
        return Columns(*(torch.from_numpy(events[name].copy()).to(request.param) for name in ("t", "x", "y", "p")))

    return make


@pytest.fixture
def device_code(tmp_path: Path) -> Callable[[str], str]:
    """``device_code(source)``: its PTX, compiled without a warning."""
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc on this machine: CUDA sources are not compiled to device code")

    def make(source: str) -> str:
        file, target = tmp_path / "events.cu", tmp_path / "events.ptx"
        file.write_text(source)
        options = ["-ptx", "-arch=sm_75", "--fmad=false", "-Werror", "all-warnings"]
        run = subprocess.run(
            ["nvcc", *options, str(file), "-o", str(target)], capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        return target.read_text()

    return make
