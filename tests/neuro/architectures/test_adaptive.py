"""Networks of adaptive neurons."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from neuro.architectures import adlif, radlif
from neuro.errors import InputError
from neuro.neurons.recurrent import Recurrent


@pytest.mark.parametrize("build", [radlif, adlif])
def test_laws(build: Any, laws: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = laws.stirred(build(6, (8, 7), 3), lift=12.0)
    x = 3 * torch.rand(9, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    laws.check(net, x, tmp_path)
    laws.check_fold(net, x)


def test_parameters_of_the_paper(laws: ModuleType) -> None:
    # 3.9 M there: weights, recurrent weights, gain and shift of each norm, tau, tau_w, a, b, and tau of the readout.
    weights = 700 * 1024 + 1024 * 1024 + 1024 * 20
    rest = 2 * (2 * 1024 + 20) + 4 * 2 * 1024 + 20
    assert laws.parameters(radlif()) == weights + 2 * 1024**2 + rest == 3_895_356
    assert laws.parameters(adlif()) == weights + rest


def test_it_begins_within_the_ranges_of_the_paper() -> None:
    torch.manual_seed(0)
    net = radlif(4, (64,), 5)
    layer = net.layers["2"]
    assert isinstance(layer, Recurrent)
    steps = {n: layer.cell.value(n).detach() / net.dt for n in ("tau", "tau_w")}
    drawn = {**steps, **{n: layer.cell.value(n).detach() for n in ("a", "b")}}
    for name, least, most in (("tau", 5, 25), ("tau_w", 30, 120), ("a", -1, 1), ("b", 0, 2)):
        ends = drawn[name].aminmax()
        assert float(ends.min) == pytest.approx(least, abs=0.1 * (most - least))
        assert float(ends.max) == pytest.approx(most, abs=0.3 * (most - least))
        assert least <= float(ends.min) <= float(ends.max) <= most
    weight = layer.weight.detach()
    assert not weight.diagonal().any()
    filled = weight + torch.diag(1 - (weight**2).sum(1)).clamp(min=0).sqrt()
    assert torch.allclose((filled**2).sum(1), torch.ones(64), atol=1e-5)


def test_bad_sizes_are_named() -> None:
    with pytest.raises(InputError, match="radlif inputs must be"):
        radlif(0)
