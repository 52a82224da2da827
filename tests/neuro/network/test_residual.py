"""Skip connections against their formulas."""

from __future__ import annotations

import pytest
import torch

import neuro
from neuro.errors import InputError


def spikes() -> torch.Tensor:
    return (torch.rand(9, 4, 6, generator=torch.Generator().manual_seed(2)) < 0.4).double()


def body(scale: float = 12.0) -> neuro.Sequential:
    torch.manual_seed(1)
    made = neuro.Sequential(neuro.Linear(6, 6), neuro.LIF(6, tau=3e-3)).double()
    made.layers["0"].get_parameter("weight").data.mul_(scale)
    return made


@pytest.mark.parametrize("mode", ["add", "and", "iand"])
@pytest.mark.parametrize("shortcut", [False, True])
def test_the_table_of_the_paper(mode: str, shortcut: bool) -> None:
    around = neuro.Linear(6, 6).double() if shortcut else None
    block = neuro.Residual(body(), around, mode=mode)
    a, s = body()(spikes())[0].detach(), spikes() if around is None else around(spikes()).detach()
    expected = {"add": a + s, "and": a * s, "iand": (1 - a) * s}[mode]
    made, state = block(spikes())
    assert torch.equal(made, expected)
    assert 0 < float(a.mean()) < 1
    y, after = block(spikes()[:4])
    rest, end = block(spikes()[4:], after)
    assert torch.equal(torch.cat([y, rest]), expected)
    assert torch.equal(end[0][1][0], state[0][1][0])


@pytest.mark.parametrize("mode", ["add", "iand"])
def test_a_silent_body_leaves_the_identity(mode: str) -> None:
    block = neuro.Residual(body(0.0), mode=mode)
    for value in block.parameters():
        value.data.zero_()
    assert torch.equal(block(spikes())[0], spikes())


def test_the_body_has_a_gradient_and_so_has_the_input() -> None:
    block = neuro.Sequential(neuro.Residual(body()), neuro.Residual(body(), mode="iand"))
    x = spikes().requires_grad_()
    block(x)[0].square().sum().backward()
    assert x.grad is not None
    assert bool(x.grad.any())
    assert all(p.grad is not None and bool(p.grad.any()) for p in block.parameters())


def test_wrong_blocks_are_named() -> None:
    with pytest.raises(InputError, match=r"did you mean 'and'"):
        neuro.Residual(neuro.Linear(2, 2), mode="an")
    with pytest.raises(InputError, match=r"the body makes \[1, 1, 3\], \[1, 1, 2\] passes it by; give a shortcut"):
        neuro.Residual(neuro.Linear(2, 3))(torch.zeros(1, 1, 2))
