"""The LIF family does what its equations say, worked out by hand."""

from __future__ import annotations

import pytest
import torch

import neuro


def test_lif_by_hand() -> None:
    cell = neuro.LIF(1, tau=4e-3, r=2.0, v_leak=0.5, v_threshold=1.0, v_reset=-0.25, learn=())
    x = torch.tensor([1.0, 0.0, 3.0, 0.0]).view(4, 1, 1)
    z, (v,) = cell(x)
    # v: 0 -> .25*(.5+2)=.625 -> .59375 -> .59375+.25*(.5-.59375+6)=2.0703 fires -> -.25 -> -.0625
    assert z.flatten().tolist() == [0, 0, 1, 0]
    assert v.item() == pytest.approx(-0.25 + 0.25 * 0.75)


@pytest.mark.parametrize(("reset", "after"), [("value", 0.1), ("subtract", 0.7), ("none", 1.7)])
def test_resets(reset: str, after: float) -> None:
    cell = neuro.LIF(1, tau=1e-3, v_reset=0.1, reset=reset, learn=())
    z, (v,) = cell(torch.full((1, 1, 1), 1.7))
    assert z.item() == 1
    assert v.item() == pytest.approx(after)


def test_threshold_itself_does_not_fire() -> None:
    cell = neuro.LIF(1, tau=1e-3, learn=())
    assert cell(torch.full((1, 1, 1), 1.0))[0].item() == 0
    assert cell(torch.full((1, 1, 1), 1.0000001))[0].item() == 1


def test_if_integrates_without_leak() -> None:
    z, (v,) = neuro.IF(1, r=100.0, v_threshold=0.95)(torch.full((25, 1, 1), 1.0))
    assert int(z.sum()) == 2
    assert v.item() == pytest.approx(0.5, abs=1e-5)


def test_li_output_is_its_membrane() -> None:
    y, (v,) = neuro.LI(1, tau=2e-3, learn=())(torch.full((3, 1, 1), 1.0))
    assert y.flatten().tolist() == pytest.approx([0.5, 0.75, 0.875])
    assert v.item() == y[-1].item()


def test_cubalif_membrane_lags_its_current() -> None:
    cell = neuro.CuBaLIF(1, tau_syn=2e-3, tau_mem=4e-3, v_threshold=10.0, learn=())
    _, _, states = cell.trace(torch.tensor([2.0, 0.0, 0.0]).view(3, 1, 1))
    assert states["i"].flatten().tolist() == pytest.approx([1.0, 0.5, 0.25])
    assert states["v"].flatten().tolist() == pytest.approx([0.0, 0.25, 0.3125])
