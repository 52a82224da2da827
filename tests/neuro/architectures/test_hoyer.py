"""Networks that answer in one step."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

import neuro
from neuro.architectures import HoyerMeasure, hoyer_vgg16
from neuro.errors import InputError

X = torch.rand(3, 4, 2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def small() -> neuro.Sequential:
    torch.manual_seed(0)
    return hoyer_vgg16((2, 8, 8), 3, stages=((4, 5), (6,)), hidden=(16,))


def test_laws(laws: ModuleType, tmp_path: Path) -> None:
    net = laws.stirred(small())
    assert laws.check(net, X, tmp_path).shape == (3, 4, 3)


def test_sixteen_layers_of_weights() -> None:
    net = hoyer_vgg16(stages=((1, 1), (1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)), hidden=(1, 1))
    kinds = [type(layer).__name__ for layer in net.layers.values()]
    assert (kinds.count("Conv2d"), kinds.count("Linear"), kinds.count("MaxPool2d")) == (13, 3, 4)
    assert kinds.count("Hoyer") == 15


def test_the_measure_makes_inputs_sparse() -> None:
    net = small().double()
    measure = HoyerMeasure(net)
    values = []
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.dim() > 1], lr=1e-3)
    for _ in range(15):
        torch.manual_seed(0)
        with measure.watch():
            net(X[:1])
        values.append(float(measure.value().detach()))
        optimizer.zero_grad()
        measure.value().backward()
        optimizer.step()
    assert values[-1] < 0.9 * values[0]


def test_what_is_measured() -> None:
    net = neuro.Sequential(neuro.Hoyer(4), neuro.Hoyer(4))
    measure = HoyerMeasure(net)
    with pytest.raises(InputError, match="nothing was measured"):
        measure.value()
    for _ in range(2):  # the second time forgets the first
        with measure.watch():
            net(torch.tensor([0.0, 0.5, 0.5, 2.0]).view(1, 1, 4))
    assert measure.value().item() == pytest.approx(4 / 1.5 + 1.0)
    with pytest.raises(InputError, match="needs a network with Hoyer layers"):
        HoyerMeasure(neuro.Sequential(neuro.Linear(2, 2)))


def test_folds_into_cells_with_fixed_thresholds(laws: ModuleType) -> None:
    net = laws.stirred(small())
    net(X)
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, neuro.BatchNorm):
                layer.weight.abs_()
    laws.check_fold(net, X)
    assert not any(isinstance(m, neuro.Hoyer) for m in neuro.fold(net).modules())
    with torch.no_grad():
        net.get_parameter("6.weight").neg_()  # behind a maximum
    with pytest.raises(InputError, match="a maximum stands before it, and 5 of its 5 gains are not above zero"):
        neuro.fold(net)


def test_parameters(laws: ModuleType) -> None:
    convolutions = 9 * (3 * 64 + 64 * 64 + 64 * 128 + 128 * 128 + 128 * 256 + 2 * 256**2 + 256 * 512 + 5 * 512**2)
    norms = 2 * (2 * 64 + 2 * 128 + 3 * 256 + 6 * 512)
    assert laws.parameters(hoyer_vgg16()) == convolutions + norms + 2048 * 4096 + 4096**2 + 40_960 + 15 == 39_925_711


def test_bad_sizes_are_named() -> None:
    with pytest.raises(InputError, match="to nothing; use fewer stages"):
        hoyer_vgg16((2, 2, 2))
    with pytest.raises(InputError, match="hoyer_vgg16 classes must be"):
        hoyer_vgg16(classes=0)
