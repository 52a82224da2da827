from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neuro
from neuro.compression import QCFS, convert, use_qcfs
from neuro.errors import InputError
from neuro.neurons import PrimedIF


def spiking(net: neuro.Sequential, x: Tensor, steps: int) -> Tensor:
    mean: Tensor = net(x.expand(steps, *x.shape))[0].mean(0)
    return mean.detach()


def conv_net() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 6, 3, padding=1, stride=2), nn.BatchNorm2d(6), nn.ReLU()),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 7, 2, bias=False),
        nn.BatchNorm2d(7, affine=False),
        nn.ReLU(),
        nn.Dropout2d(0.5),
        nn.AdaptiveAvgPool2d((1, 3)),
        nn.Flatten(),
        nn.Linear(21, 9),
        nn.BatchNorm1d(9),
        nn.ReLU(),
        nn.Identity(),
        nn.Dropout(0.3),
        nn.Linear(9, 4),
    ).double()


def settled(ann: nn.Sequential, x: Tensor) -> nn.Sequential:
    """With the statistics of a batch in its normalisations, as after training."""
    for _ in range(30):
        ann(x)
    return ann.eval()


@pytest.mark.parametrize("levels", [2, 4, 8])
def test_one_layer_agrees_exactly_after_as_many_steps_as_levels(levels: int) -> None:
    ann = nn.Sequential(QCFS(levels, threshold=2.0)).double()
    x = torch.linspace(-1, 3, 4001, dtype=torch.float64).unsqueeze(1)
    assert torch.equal(spiking(convert(ann, x), x, levels), ann(x).detach())


@pytest.mark.parametrize("steps", [1, 3, 5, 16])
def test_at_any_number_of_steps_one_layer_has_no_bias(steps: int) -> None:
    ann = nn.Sequential(QCFS(levels=4, threshold=2.0)).double()
    x = (torch.arange(40_000, dtype=torch.float64).unsqueeze(1) + 0.5) / 20_000  # uniform in 0..threshold
    error = spiking(convert(ann, x), x, steps) - ann(x).detach()
    assert abs(float(error.mean())) < 1e-9
    assert float(error.abs().max()) > 0.1
    down = spiking(convert(ann, x, cell=partial(PrimedIF, primed=0.0)), x, steps) - ann(x).detach()
    assert float(down.mean()) < -0.05


def test_learned_thresholds_go_along() -> None:
    torch.manual_seed(0)
    ann = use_qcfs(nn.Sequential(nn.Linear(5, 40), nn.ReLU(), nn.Linear(40, 30), nn.ReLU()), 4).double()
    for name, threshold in (("1", 0.7), ("3", 0.3)):
        ann.get_parameter(f"{name}.threshold").data.fill_(threshold)
    x = torch.rand(50, 5, dtype=torch.float64) * 2
    net = convert(ann, x)
    assert [float(cell.value("v_threshold")) for cell in net.cells.values()] == [0.7, 0.3]
    torch.testing.assert_close(spiking(convert(ann[:2], x), x, 4), ann[:2](x).detach())
    # Behind the first layer spikes are not even over time, so agreement is not exact; it comes close with steps.
    far, near = ((spiking(net, x, steps) - ann(x).detach()).abs().mean() for steps in (2, 64))
    assert float(near) < 0.5 * float(far)


def test_a_convolutional_network_of_relus_is_approached() -> None:
    ann = conv_net()
    x = torch.randn(64, 2, 12, 16, dtype=torch.float64)
    settled(ann, x)
    net = convert(ann, x, percentile=100)
    assert [type(m).__name__ for m in net.layers.values()][:4] == ["Conv2d", "PrimedIF", "AvgPool2d", "Conv2d"]
    errors = [float((spiking(net, x, steps) - ann(x).detach()).abs().max()) for steps in (8, 64, 512)]
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.02 * float(ann(x).detach().abs().max())
    assert not any(layer.training for layer in net.modules())


def test_the_percentile_is_of_all_outputs_of_the_layer() -> None:
    ann = nn.Sequential(nn.Identity(), nn.ReLU()).double()
    x = torch.arange(-100, 100, dtype=torch.float64).view(50, 4)
    for percentile, threshold in ((100, 99.0), (99, 97.0), (75.5, 50.0)):
        cell = next(iter(convert(ann, x, percentile=percentile).cells.values()))
        assert float(cell.value("v_threshold")) == threshold


def test_the_ann_and_its_mode_stay_as_they_are() -> None:
    ann = conv_net().train()
    x = torch.randn(8, 2, 12, 16, dtype=torch.float64)
    before = {k: v.clone() for k, v in ann.state_dict().items()}
    convert(ann, x)
    assert ann.training
    assert all(torch.equal(before[k], v) for k, v in ann.state_dict().items())


def test_files_and_other_cells() -> None:
    ann, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.rand(6, 3) + 1
    net = convert(ann, x)
    again: Any = neuro.build(net.definition())
    again.load_state_dict(net.state_dict())
    assert torch.equal(spiking(again, x, 7), spiking(net, x, 7))
    lif = convert(ann, x, cell=partial(neuro.LIF, tau=2e-3, r=2.0, reset="subtract", learn=("tau", "v_threshold")))
    assert [type(c) for c in lif.cells.values()] == [neuro.LIF]


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.MaxPool2d(2), r"layer '1' \(MaxPool2d\) cannot be made spiking: .*nn\.AvgPool2d"),
        (nn.Sigmoid(), r"layer '1' \(Sigmoid\) .*QCFS or nn\.ReLU"),
        (nn.Softmax(1), r"layer '1' \(Softmax\) .*leave it out"),
        (nn.Unflatten(1, (2, 2)), r"layer '1' \(Unflatten\) .*use Linear, Conv2d"),
        (nn.AvgPool2d(2, ceil_mode=True), "ceil_mode"),
        (nn.Conv2d(4, 4, 1, groups=2), "one group"),
        (nn.Conv2d(4, 4, 3, padding="same"), "one group"),
        (nn.AdaptiveAvgPool2d(3), r"makes \(3, 3\) of \(4, 4\)"),
        (nn.Linear(4, 2), r"put nn\.Flatten\(\) before it"),
        (nn.Flatten(2), r"use nn\.Flatten\(\)"),
        (nn.Sequential(nn.Dropout(0.1), nn.AvgPool2d(2), nn.BatchNorm2d(4)), r"layer '1\.2' \(BatchNorm2d\)"),
        (nn.BatchNorm2d(4, track_running_stats=False), "track_running_stats"),
    ],
)
def test_names_the_layer_that_cannot_go_along(layer: nn.Module, words: str) -> None:
    ann = nn.Sequential(nn.Conv2d(1, 4, 1), layer)
    with pytest.raises(InputError, match=words):
        convert(ann, torch.rand(3, 1, 4, 4))


def test_refuses_what_it_cannot_use() -> None:
    x = torch.rand(5, 3)
    silent = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    silent.get_parameter("0.bias").data.fill_(-9.0)
    with pytest.raises(InputError, match=r"layer '1' \(ReLU\): the percentile"):
        convert(silent, x)
    sunk = nn.Sequential(QCFS())
    sunk.get_parameter("0.threshold").data.fill_(-0.5)
    with pytest.raises(InputError, match=r"threshold -0\.5"):
        convert(sunk, x)
    with pytest.raises(InputError, match="neither QCFS nor ReLU"):
        convert(nn.Sequential(nn.Linear(3, 2)), x)
    with pytest.raises(InputError, match=r"takes an nn\.Sequential, got Linear"):
        convert(nn.Linear(3, 2), x)
    with pytest.raises(InputError, match="percentile=0"):
        convert(nn.Sequential(nn.ReLU()), x, percentile=0)
    with pytest.raises(InputError, match=r"shape \[3\]"):
        convert(nn.Sequential(nn.ReLU()), x[0])
