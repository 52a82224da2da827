"""Means over windows, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.hardware.nir_node import Node
from neuro.hardware.nir_read import READERS, Timing


@pytest.mark.parametrize(
    ("options", "after"), [((2,), (2, 4, 3)), ((3, 2, 1), (2, 4, 3)), (((2, 3), (1, 2)), (2, 6, 3))]
)
def test_round_trip(options: Any, after: tuple[int, ...], tmp_path: Path) -> None:
    x = (
        torch.rand(20, 3, 2, 7 if len(options) != 1 else 8, 7, generator=torch.Generator().manual_seed(0)) < 0.4
    ).float()
    x = x[..., :6] if len(options) != 2 else x
    net = neuro.Sequential(neuro.AvgPool2d(*options), neuro.LIF(after, r=30.0))
    neuro.hardware.export(net, tmp_path / "net.nir", shape=tuple(x.shape[2:]))
    again = neuro.hardware.read(tmp_path / "net.nir")
    assert again.layers["0"].extra_repr() == net.layers["0"].extra_repr()
    y = net(x)[0]
    assert torch.equal(again(x)[0], y)
    assert 0 < float(y.detach().mean()) < 1


def test_what_comes_from_elsewhere() -> None:
    pair = np.array([2, 2])
    given: Any = {"type": "AvgPool2d", "kernel_size": pair, "stride": pair, "padding": pair}
    assert set(vars(nir.AvgPool2d(pair, pair, pair))) >= set(given) - {"type"}
    with pytest.raises(InputError, match=r"node 'p' \(AvgPool2d\): AvgPool2d padding must be from 0 to half"):
        READERS["AvgPool2d"](Node("p", given), (1, 4, 4), Timing(1e-3, "euler"))
