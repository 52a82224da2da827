"""The loops of event-driven convolution, rows apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from neuro.kernels.propagation.event_conv_numba import gather, scatter


def test_only_the_rows_asked_for() -> None:
    rng: Any = np.random.default_rng(0)
    x = rng.standard_normal((3, 2, 5, 4)) * (rng.random((3, 2, 5, 4)) < 0.5)
    flat = x.reshape(3, -1)
    start = np.concatenate([[0], np.cumsum((flat != 0).sum(1))])
    index, value = np.nonzero(flat)[1].astype(np.int32), flat[flat != 0]
    weight, shape = rng.standard_normal((2, 3, 2, 6)), (5, 4, 2, 1, 1, 0)
    kernel = torch.from_numpy(weight).permute(3, 0, 1, 2)
    wanted = F.conv2d(torch.from_numpy(x), kernel, None, (2, 1), (1, 0))
    out = np.zeros((3, *wanted.shape[2:], 6))
    gather(start, index, value, weight, out, shape, 1, 3)
    assert not out[0].any()
    assert np.allclose(out[1:].transpose(0, 3, 1, 2), wanted[1:].numpy(), rtol=1e-12)
    grad, made = rng.standard_normal(out.shape), np.zeros_like(weight)
    scatter(start, index, value, grad, made, shape, 0, 2)
    upstream = torch.from_numpy(grad[:2]).permute(0, 3, 1, 2)
    exact = conv2d_weight(torch.from_numpy(x[:2]), list(kernel.shape), upstream, (2, 1), (1, 0))
    assert np.allclose(made, exact.permute(1, 2, 3, 0).numpy(), rtol=1e-11, atol=1e-12)
