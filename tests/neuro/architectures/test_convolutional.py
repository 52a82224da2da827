"""Convolutional networks."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

import neuro
from neuro.architectures import PLIF_NETS, plif_net, vgg_snn
from neuro.errors import InputError

X = torch.rand(3, 2, 2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_laws_of_plif_net(laws: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = laws.stirred(plif_net((2, 8, 8), 3, stages=((4, 5), (6,)), hidden=16, voters=4, dropout=0.25), by=1.0)
    y = laws.check(net, X, tmp_path)
    assert y.shape == (3, 2, 3)
    assert bool((4 * y == (4 * y).round()).all())  # shares of four voters
    laws.check_fold(net, X)


def test_laws_of_vgg_snn(laws: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = laws.stirred(vgg_snn((2, 8, 8), 3, stages=((4, 5), (6,))))
    assert laws.check(net, 2 * X, tmp_path).shape == (3, 2, 3)
    laws.check_fold(net, 2 * X)
    folded, x = neuro.fold(net.float()), 2 * X.float()
    neuro.hardware.export(folded, tmp_path / "net.nir", shape=(2, 8, 8))
    assert torch.equal(neuro.hardware.read(tmp_path / "net.nir")(x)[0], folded(x)[0])


def test_parameters_of_the_papers(laws: ModuleType) -> None:
    convolutions = 9 * 128 * (2 + 4 * 128) + 5 * 2 * 128
    assert laws.parameters(plif_net()) == convolutions + 128 * 4 * 4 * 512 + 512 * 110 + 7 == 1_698_311
    six = 9 * 256 * (3 + 5 * 256) + 6 * 2 * 256
    assert laws.parameters(plif_net(**PLIF_NETS["cifar10"])) == six + 256 * 8 * 8 * 2048 + 204_800 + 8 == 36_718_344
    assert laws.parameters(plif_net(**PLIF_NETS["mnist"])) == 9 * 128 * 129 + 512 + 6272 * 2048 + 204_800 + 4
    assert laws.parameters(vgg_snn()) == 9_271_498


def test_neurons_of_vgg_snn_halve_their_membrane() -> None:
    cell = vgg_snn((1, 4, 4), 2, stages=((1,),)).cells["2"]
    x = torch.full((2, 1, 1, 4, 4), 0.8)
    z, (v,) = cell(x[:1])
    assert not z.any()
    assert torch.allclose(v, x[0])
    assert cell(x)[0][1].all()  # 0.4 + 0.8 is above one


def test_bad_sizes_are_named() -> None:
    for build in (plif_net, vgg_snn):
        with pytest.raises(InputError, match="to nothing; give fewer stages"):
            build((2, 4, 4), 3, stages=((2,),) * 3)
        with pytest.raises(InputError, match="classes must be"):
            build(classes=0)
