"""Networks that occur in many tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import neuro
from neuro.hardware import export


@pytest.fixture
def spiking() -> Callable[..., neuro.Sequential]:
    """Maker of a 12-7-4 network of LIF cells that fires; arguments go to both cells."""

    def make(**options: object) -> neuro.Sequential:
        torch.manual_seed(3)
        cells = [neuro.LIF(n, **{"tau": 10e-3, **options}) for n in (7, 4)]  # type: ignore[arg-type]
        net = neuro.Sequential(neuro.Linear(12, 7), cells[0], neuro.Linear(7, 4), cells[1])
        with torch.no_grad():
            net.get_parameter("0.weight").mul_(40)
            net.get_parameter("2.weight").mul_(60)
        return net

    return make


@pytest.fixture
def every_kind() -> neuro.Sequential:
    """One layer of each kind that NIR has, with values that are not the defaults; input (2, 8, 11)."""
    torch.manual_seed(4)
    net = neuro.Sequential(
        {
            "conv": neuro.Conv2d(2, 3, (3, 4), stride=(1, 1), padding=(1, 0)),
            "lif": neuro.LIF((3, 8, 8), tau=7e-3 + 5e-3 * torch.rand(3, 8, 8), r=1.5, v_leak=0.1, v_reset=-0.2),
            "pool": neuro.SumPool2d((2, 4)),
            "flat": neuro.Flatten(),
            "dense": neuro.Linear(24, 6, bias=False),
            "cuba": neuro.CuBaLIF(6, tau_syn=3e-3, tau_mem=11e-3, r=4.0, w_in=5.0, v_threshold=0.7, v_reset=-0.1),
            "affine": neuro.Linear(6, 5, mode="event"),
            "if": neuro.IF(5, r=130.0, v_threshold=1.3, v_reset=0.05),
            "last": neuro.Linear(5, 2),
            "li": neuro.LI(2, tau=30e-3, r=1.1, v_leak=0.2, method="exponential"),
        }
    )
    with torch.no_grad():
        net.get_parameter("affine.weight").mul_(12)
        net.get_parameter("dense.weight").mul_(4)
    return net


@pytest.fixture
def every_kind_file(every_kind: neuro.Sequential, tmp_path: Path) -> Path:
    """The file of ``every_kind``."""
    path = tmp_path / "every.nir"
    export(every_kind, path)
    return path


@pytest.fixture
def poisson() -> Callable[..., torch.Tensor]:
    """Maker of random 0/1 input of a given shape, as many ones as ``rate``."""

    def make(*shape: int, rate: float = 0.2, seed: int = 5) -> torch.Tensor:
        return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).float()

    return make
