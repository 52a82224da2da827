"""What all tests share. Set before anything imports torch or numba."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# A shell starts background jobs with Ctrl-C ignored, which the tests of Ctrl-C, and what they start, would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Examples are drawn the same way each time, and a kernel that compiles on its first example is not too slow.
settings.register_profile("neuro", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("neuro")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recordings that are too large for the repository; the test is skipped where it is absent."""
    folder = Path(os.environ.get("NEURO_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}; set NEURO_SHARED_DATA to their folder")
    return folder
