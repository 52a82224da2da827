"""The Numba loop writes its own columns and no others."""

from __future__ import annotations

import numpy as np

from neuro.kernels.scans.send_on_delta_numba import send


def test_a_block_leaves_the_others_alone() -> None:
    x = np.arange(24.0).reshape(2, 2, 6)
    out = np.full((2, 2, 2, 6), 9.0)
    send(x, np.zeros((2, 6)), np.ones(1), out, 1, 2, 5)
    assert (out[:, 1, :, 2:5] != 9).all()
    out[:, 1, :, 2:5] = 9
    assert (out == 9).all()
