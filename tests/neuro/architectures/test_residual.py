"""Residual networks of spikes."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

import neuro
from neuro.architectures import sew_block, sew_resnet18
from neuro.errors import InputError

X = torch.rand(3, 2, 2, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("mode", ["add", "and", "iand"])
def test_laws(mode: str, laws: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = laws.stirred(sew_resnet18((2, 16, 16), 3, widths=(4, 6), blocks=(1, 1), mode=mode), by=0.2)
    assert laws.check(net, X, tmp_path).shape == (3, 2, 3)
    laws.check_fold(net, X)


def test_parameters_are_those_of_resnet(laws: ModuleType) -> None:
    assert laws.parameters(sew_resnet18()) == 11_689_512


@pytest.mark.parametrize("mode", ["add", "and", "iand"])
def test_a_block_begins_as_the_identity(mode: str) -> None:
    block = sew_block(3, 3, (5, 4), mode=mode).eval()
    spikes = (torch.rand(4, 2, 3, 5, 4, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    assert torch.equal(neuro.Sequential(block)(spikes)[0], spikes)


def test_a_block_halves_odd_places() -> None:
    y, _ = sew_block(2, 4, (5, 7), stride=2)(torch.ones(1, 2, 2, 5, 7))
    assert y.shape == (1, 2, 4, 3, 4)


def test_bad_sizes_are_named() -> None:
    with pytest.raises(InputError, match=r"needs blocks for each of its widths \(4, 8\), got \(1,\)"):
        sew_resnet18(widths=(4, 8), blocks=(1,))
    with pytest.raises(InputError, match="sew_resnet18 classes must be"):
        sew_resnet18(classes=0)
    with pytest.raises(InputError, match="mode of Residual"):
        sew_block(2, 2, (4, 4), mode="or")
