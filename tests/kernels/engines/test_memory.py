"""The setting is made in a process of its own: it lasts as long as the process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import resource, torch
from neuro.kernels.engines.memory import keep_freed_memory
print(keep_freed_memory())
def faults():
    torch.empty(2**24, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    faults()
before = faults()
for _ in range(9):
    after = faults()
print(after - before)
"""


def run(**environment: str) -> list[str]:
    clean = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES" and not k.startswith("MALLOC_")}
    command = [sys.executable, "-P", "-c", CODE]
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_a_block_that_was_freed_is_used_again() -> None:
    kept, faults = run()
    if kept == "False":
        pytest.skip("this C library has no mallopt")
    assert int(faults) < 1000  # 9 blocks of 4096 pages


def test_a_choice_in_the_environment_stands() -> None:
    assert run(MALLOC_TRIM_THRESHOLD_="100000")[0] == "False"
