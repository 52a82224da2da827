"""Readouts by hand and by finite differences; the losses read out with these very functions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from neuro import encoding
from neuro.encoding import readouts
from neuro.errors import InputError
from neuro.training.losses import LOSSES, Loss

READOUTS = {name: getattr(readouts, name) for name in readouts.__all__}


def test_values() -> None:
    output = torch.tensor([[0.0, 1.0], [4.0, 2.0], [2.0, 9.0]], dtype=torch.float64).view(3, 1, 2)
    assert encoding.spike_count(output).tolist() == [[6, 12]]
    assert encoding.mean_membrane(output).tolist() == [[2, 4]]
    assert encoding.max_membrane(output).tolist() == [[4, 9]]
    assert encoding.last_membrane(output).tolist() == [[2, 9]]
    first = torch.sigmoid(torch.tensor([-1.0, 2.0, -7.0], dtype=torch.float64)).sum()
    assert torch.allclose(encoding.softmax_sum(output), torch.stack([first, 3 - first]).view(1, 2))


@pytest.mark.parametrize("readout", READOUTS.values(), ids=READOUTS)
def test_gradients_are_those_of_finite_differences(readout: Callable[[Tensor], Tensor]) -> None:
    output = torch.rand(5, 2, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    assert torch.autograd.gradcheck(readout, output.requires_grad_())
    assert readout(output[:1]).shape == (2, 3)
    assert readout(output[:, :0]).shape == (0, 3)


def test_one_definition_for_losses_and_decoders() -> None:
    assert {name: loss.readout for name, loss in LOSSES.items() if type(loss) is Loss} == READOUTS
    assert LOSSES["tet"].readout is LOSSES["contrastive"].readout is readouts.mean_membrane


@pytest.mark.parametrize("name", ["mean_membrane", "max_membrane", "last_membrane"])
def test_no_steps_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"{name} reads .* of at least 1 step, got \[0, 2, 3\]"):
        READOUTS[name](torch.zeros(0, 2, 3))


@pytest.mark.parametrize("name", READOUTS)
def test_padding_is_not_read(name: str) -> None:
    generator = torch.Generator().manual_seed(4)
    output, lengths = torch.rand(6, 4, 3, generator=generator, dtype=torch.float64), torch.tensor([6, 1, 4, 3])
    read = READOUTS[name](output, lengths)
    for sample, steps in enumerate(lengths.tolist()):
        alone = READOUTS[name](output[:steps, sample : sample + 1])
        torch.testing.assert_close(read[sample : sample + 1], alone, rtol=0, atol=1e-12)
    padded = output.clone().requires_grad_()
    READOUTS[name](padded, lengths).square().sum().backward()
    assert padded.grad is not None
    inside = torch.arange(6)[:, None] < lengths
    assert not bool(padded.grad[~inside].any())
    with pytest.raises(InputError, match=r"steps of the sequence, got 7"):
        READOUTS[name](output, lengths + 1)
