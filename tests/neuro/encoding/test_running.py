"""Readouts in stretches against the readouts of the whole sequence, and their gradients against autograd."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from neuro.encoding import readouts
from neuro.encoding.running import running
from neuro.errors import InputError

T, B, C = 23, 4, 3
LENGTHS = torch.tensor([23, 1, 10, 11])
each_readout = pytest.mark.parametrize(
    "readout",
    [
        readouts.spike_count,
        readouts.mean_membrane,
        readouts.max_membrane,
        readouts.last_membrane,
        readouts.softmax_sum,
    ],
    ids=lambda readout: readout.__name__,
)


def drawn(*, ties: bool = False) -> Tensor:
    made = torch.randn(T, B, C, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return made.round() if ties else made


@each_readout
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "padded"])
@pytest.mark.parametrize("chunk", [1, 5, 23, 40])
def test_stretches_are_the_whole(readout: Callable[..., Tensor], lengths: Tensor | None, chunk: int) -> None:
    for output in (drawn(), drawn(ties=True)):
        leaf = output.clone().requires_grad_()
        whole = partial(readout, lengths=lengths)(leaf)
        grad = torch.randn(B, C, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        (expected,) = torch.autograd.grad(whole, leaf, grad)
        form = running(partial(readout, lengths=lengths), T)
        assert form is not None
        for part in output.split(chunk):
            form.add(part)
        pulled = [form.pull(p, i * chunk, grad) for i, p in enumerate(output.split(chunk))]
        assert torch.allclose(form.value, whole.detach(), rtol=1e-12, atol=1e-13)
        assert torch.allclose(torch.cat(pulled), expected, rtol=1e-12, atol=1e-14)
        if form.linear:
            blind = [form.pull(torch.full_like(p, 7.0), i * chunk, grad) for i, p in enumerate(output.split(chunk))]
            assert torch.equal(torch.cat(blind), torch.cat(pulled))


def test_a_nan_shows() -> None:
    output = drawn()
    output[13, 1, 2] = torch.nan
    for readout in (readouts.spike_count, readouts.mean_membrane, readouts.max_membrane, readouts.softmax_sum):
        form = running(readout, T)
        assert form is not None
        for part in output.split(4):
            form.add(part)
        assert torch.equal(form.value.isnan(), readout(output).isnan())


def test_what_needs_the_whole_sequence_has_no_running_form() -> None:
    assert running(lambda output: output[3], T) is None
    assert running(partial(readouts.spike_count, drawn()), T) is None


def test_lengths_are_checked() -> None:
    form = running(partial(readouts.last_membrane, lengths=torch.tensor([24, 1, 1, 1])), T)
    assert form is not None
    with pytest.raises(InputError, match=r"1\.\.23"):
        form.add(drawn()[:3])
