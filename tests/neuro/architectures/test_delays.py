"""The delay network."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

import neuro
from neuro.architectures import delay_network
from neuro.errors import InputError


def small() -> neuro.Sequential:
    torch.manual_seed(3)
    return delay_network(6, (8, 7), 3, max_delay=0.04)


@pytest.mark.parametrize("kind", ["synapse", "axon", "dendrite"])
def test_laws(kind: str, laws: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(3)
    net = laws.stirred(delay_network(6, (8, 7), 3, max_delay=0.04, kind=kind))
    x = (torch.rand(9, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) < 0.5).double()
    laws.check(net, x, tmp_path, rules=("bptt",) if kind == "dendrite" else ("bptt", "sltt"))


def test_folds(laws: ModuleType) -> None:
    x = (torch.rand(9, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) < 0.5).double()
    net = laws.stirred(small())
    net(x)
    laws.check_fold(net, x)


def test_parameters_of_the_paper(laws: ModuleType) -> None:
    assert laws.parameters(delay_network()) == 214_016
    for hidden, count in (((512, 512), 705_536), ((512, 512, 512), 1_230_848)):
        commands = delay_network(140, hidden, 35, max_delay=0.3, tau=15e-3, dropout=0.25)
        assert laws.parameters(commands) == count


def test_its_neurons_hardly_remember() -> None:
    net = delay_network(2, (3,), 2)
    cell = net.cells["2"]
    assert float(1 - cell.dt / cell.value("tau")) == pytest.approx(0.005, abs=1e-4)
    z, (v,) = cell(torch.full((1, 1, 3), 0.75))
    assert not z.any()
    assert torch.allclose(v, torch.full((1, 3), 0.75))  # the input is added as it is


def test_bad_sizes_are_named() -> None:
    with pytest.raises(InputError, match="delay_network classes must be"):
        delay_network(classes=0)
    with pytest.raises(InputError, match="max_delay must be a whole number of steps"):
        delay_network(max_delay=0.245)
