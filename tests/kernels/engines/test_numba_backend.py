"""Blocks, threads, and the disk cache of compiled kernels."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from neuro.kernels.engines.numba_backend import run_blocks

CODE = "import torch, neuro; print(int(neuro.LIF(3)(torch.full((9, 1, 3), 40.0))[0].sum()))"


def test_every_task_runs_once_on_any_number_of_threads() -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            seen: list[int] = []
            run_blocks([partial(seen.append, k) for k in range(20)])
            assert sorted(seen) == list(range(20))
            run_blocks([])
    finally:
        torch.set_num_threads(before)


def test_an_error_in_a_task_is_not_lost() -> None:
    before = torch.get_num_threads()

    def fail() -> None:
        raise RuntimeError("task 2")

    try:
        torch.set_num_threads(2)
        with pytest.raises(RuntimeError, match="task 2"):
            run_blocks([lambda: None, fail, lambda: None])
    finally:
        torch.set_num_threads(before)


def run(cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", CODE],
        env=os.environ | {"NEURO_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_compiled_code_is_kept_for_the_next_process(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert first.returncode == 0, first.stderr
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
    assert kept
    second = run(tmp_path)
    assert second.stdout == first.stdout
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")} == kept


def test_a_damaged_kernel_file_is_written_anew(tmp_path: Path) -> None:
    expected = run(tmp_path).stdout
    for path in (tmp_path / "kernels").glob("*.py"):
        path.write_text("raise RuntimeError('damaged')\n")
    assert run(tmp_path).stdout == expected
