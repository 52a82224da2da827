"""Recomputing changes what is kept, not what comes out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neuro
from neuro.errors import InputError
from neuro.neurons.recurrent import Recurrent


def network(dropout: float = 0.0) -> neuro.Sequential:
    torch.manual_seed(4)
    net = neuro.Sequential(
        neuro.Linear(30, 20),
        neuro.CuBaLIF(20, learn=("tau_mem",), r=8.0),
        nn.Dropout(dropout),
        Recurrent(neuro.LIF(20, learn=("tau",), r=8.0)),
        neuro.Linear(20, 5),
        neuro.LI(5),
    )
    return net.double()


def spikes(time: int = 23, share: float = 0.3) -> Tensor:
    return (torch.rand(time, 3, 30, generator=torch.Generator().manual_seed(1)) < share).double()


def gradients(
    net: neuro.Sequential, x: Tensor, recompute: int | None, state: Any = None
) -> tuple[Tensor, list[Tensor], Tensor | None]:
    net.zero_grad()
    torch.manual_seed(9)
    x = x.detach().clone().requires_grad_(x.requires_grad)
    y, after = net(x, state, recompute=recompute)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    ((y * weights).sum() + after[1][0].pow(2).sum()).backward()
    return y.detach(), [p.grad.clone() for p in net.parameters() if p.grad is not None], x.grad


@pytest.mark.parametrize("steps", [1, 5, 22, 23, 100])
@pytest.mark.parametrize("wants_input", [False, True])
def test_gradients_are_those_of_the_whole(steps: int, wants_input: bool) -> None:
    net, x = network(), spikes().requires_grad_(wants_input)
    wanted, plain, input_grad = gradients(net, x, None)
    output, made, input_made = gradients(net, x, steps)
    assert torch.equal(output, wanted)
    assert output.any()
    assert len(made) == len(plain) == len(list(net.parameters()))
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(made, plain, strict=True))
    assert (input_made is None) == (not wants_input)
    if input_made is not None and input_grad is not None:
        assert torch.allclose(input_made, input_grad, rtol=1e-10, atol=1e-12)


def test_a_state_that_is_given_has_its_gradient() -> None:
    net, x = network(), spikes() * 0.7  # graded: kept as it is
    state = net.initial_state(3, dtype=torch.float64)
    grads = []
    for steps in (None, 6):
        v = torch.full((3, 20), 0.2, dtype=torch.float64, requires_grad=True)
        first = state[1]
        assert first is not None
        gradients(net, x, steps, (None, (v, *first[1:]), *state[2:]))
        grads.append(v.grad)
    assert grads[0] is not None
    assert grads[1] is not None
    assert torch.allclose(grads[0], grads[1], rtol=1e-10)


def test_random_layers_draw_the_same_again() -> None:
    net, x = network(dropout=0.4), spikes()
    output, first, _ = gradients(net, x, 5)
    again, second, _ = gradients(net, x, 5)
    assert torch.equal(output, again)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    net.eval()
    assert not torch.equal(output, gradients(net, x, 5)[0])


def held(net: neuro.Sequential, x: Tensor, recompute: int | None) -> int:
    """Bytes the graph holds on to between forward and backward, weights and input apart."""
    own = {t.untyped_storage().data_ptr() for t in (*net.parameters(), *net.buffers(), x)}
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        output = net(x, recompute=recompute)[0]
    assert output.requires_grad
    return sum(seen.values())


def test_little_is_kept() -> None:
    net, x = network(), spikes(100)
    assert held(net, x, 10) < held(net, x, None) / 2.5


def test_spikes_are_kept_as_bits() -> None:
    net, x = network(), spikes(100).float()
    graded = held(net.float(), x * 0.5, 20)  # kept as it is: the caller's own tensor
    assert held(net, x, 20) - graded == 80 * 3 * 8  # one 64-bit word a row of 30


@pytest.mark.parametrize("steps", [0, -3, 2.5, True])
def test_bad_length_is_named(steps: Any) -> None:
    with pytest.raises(InputError, match=r"recompute=.* must be a whole number"):
        network()(spikes(), recompute=steps)
    if steps is not True:
        with pytest.raises(InputError, match=r"recompute=.* must be a whole number"):
            neuro.rules.BPTT(recompute=steps)


def test_without_gradients_nothing_is_cut() -> None:
    net, x = network(), spikes()
    with torch.no_grad():
        assert torch.equal(net(x, recompute=4)[0], net(x)[0])
