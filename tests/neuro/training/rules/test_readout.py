"""The error of what drives a readout, stretch by stretch, against autograd over the whole sequence."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neuro
from neuro.training.losses import Loss, max_membrane, mean_membrane, softmax_sum, tet
from neuro.training.rules.local.chain import Block
from neuro.training.rules.online import reading
from neuro.training.rules.readout import Readout

T, B, C = 23, 4, 3
Y = torch.tensor([0, 2, 1, 1])


def cell(kind: str) -> neuro.Cell | None:
    each = torch.tensor([1e-3, 3e-3, 9e-3])
    made = {"LI": neuro.LI(C, tau=each), "LIF": neuro.LIF(C, tau=each), "CuBaLIF": neuro.CuBaLIF(C), "none": None}[kind]
    return None if made is None else made.double()


def drive() -> Tensor:
    return 4 * torch.rand(T, B, C, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("chunk", [1, 5, 23, 40])
@pytest.mark.parametrize("loss", [mean_membrane, max_membrane, softmax_sum, tet], ids=lambda loss: loss.name)
@pytest.mark.parametrize("kind", ["LI", "LIF", "CuBaLIF", "none"])
def test_stretches_are_the_whole(kind: str, loss: Loss, chunk: int) -> None:
    neurons = cell(kind)
    leaf = drive().requires_grad_()
    output = leaf if neurons is None else neurons(leaf)[0]
    value = loss(output, Y)
    learned = [] if neurons is None else list(neurons.parameters())
    expected, *others = torch.autograd.grad(value, [leaf, *learned])
    read = reading(loss, Y, T)
    readout = Readout(Block("last", (), neurons), read, T)
    if readout.waits(chunk):
        readout.read_all(drive().split(chunk))
    told = [readout.told(part, i * chunk) for i, part in enumerate(drive().split(chunk))]
    assert torch.allclose(torch.cat(told), expected, rtol=1e-11, atol=1e-14)
    assert float(read.result.loss) == pytest.approx(float(value.detach()), rel=1e-12)
    for parameter, grad in zip(learned, others, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, grad, rtol=1e-10, atol=1e-14)


def test_one_number_for_each_stretch_is_all_that_a_linear_readout_keeps() -> None:
    readout = Readout(Block("last", (), cell("LI")), reading(max_membrane, Y, T), T)
    readout.read_all(drive().split(5))
    assert sum(part.numel() for parts in readout._later.values() for part in parts) == 4 * B * C
    assert readout._whole is None
