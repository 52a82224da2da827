"""Features without labels: a layer that learns by local rules, ready for a readout."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from tqdm import tqdm

from neuro.errors import InputError
from neuro.network import Network
from neuro.plasticity.rule import LocalRule, write_grad

__all__ = ["Triangle", "imprint", "learn_locally"]


class Triangle(nn.Module):
    """``relu(u - mean(u))^power``, the mean over the neurons: who is driven less than the others says nothing.

    Coates, Lee and Ng, AISTATS 2011; with a power, Journé et al., "Hebbian deep learning without feedback", ICLR 2023.

    Args:
        power: above 1 leaves the word to the strongest.

    Raises:
        InputError: ``power`` not positive.

    >>> Triangle(2.0)(torch.tensor([1.0, 2.0, 6.0])).tolist()
    [0.0, 0.0, 9.0]
    """

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        if not 0 < power < math.inf:
            raise InputError(f"power must be positive and finite, got {power}")
        self.power = power

    def forward(self, u: Tensor) -> Tensor:
        """``[..., N]`` of ``u [..., N]``."""
        above: Tensor = (u - u.mean(-1, keepdim=True)).relu()
        return above if self.power == 1 else above**self.power

    def extra_repr(self) -> str:
        """The power."""
        return f"power={self.power}"


@torch.no_grad()
def imprint(layer: nn.Linear, x: Tensor, *, noise: float = 0.0, seed: int = 0) -> None:
    """Start the weights of each neuron as one of the inputs, at length 1, so that each wins somewhere from the first step.

    Where neurons compete, few of those with random weights ever win.

    Args:
        layer: its ``weight [O, I]`` is written.
        x: ``[..., I]``, at least O inputs that are not 0.
        noise: standard deviation of what is added to each weight, before the length is made 1.
        seed: of the choice.

    Raises:
        InputError: inputs of another size, or too few.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> imprint(layer, torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    >>> [round(w, 4) for w in layer.weight.detach().flatten().tolist()]
    [0.6, 0.8]
    """
    neurons, inputs = layer.weight.shape
    if x.dim() < 1 or x.shape[-1] != inputs:
        raise InputError(f"x must be [..., {inputs}], got {list(x.shape)}")
    rows = x.reshape(-1, inputs)
    rows = rows[rows.abs().amax(1) > 0]
    if len(rows) < neurons:
        raise InputError(f"{neurons} neurons need as many inputs that are not 0, got {len(rows)}")
    draw = torch.Generator().manual_seed(seed)
    chosen = nn.functional.normalize(rows[torch.randperm(len(rows), generator=draw)[:neurons]], dim=1)
    moved = chosen + noise * torch.randn(chosen.shape, generator=draw).to(chosen)
    layer.weight.copy_(nn.functional.normalize(moved, dim=1))


def learn_locally(
    net: Network,
    x: Tensor,
    rules: Mapping[str, LocalRule],
    *,
    lr: float,
    passes: int = 1,
    batch_size: int = 100,
    seed: int = 0,
    progress: bool = True,
) -> None:
    """Let layers learn from samples by local rules, at a rate that falls to 0 in a line; nothing else changes.

    Args:
        net: the network.
        x: ``[T, S, ...]``; each sample starts from the network's and the rules' first state.
        rules: by name of layer, as for :func:`neuro.plasticity.write_grad`.
        lr: rate of the first step, times the change that is the mean over time and batch.
        passes: over all samples, each in an order of its own.
        batch_size: samples a step.
        seed: of the orders.
        progress: whether to draw a line of progress.

    Raises:
        InputError: an option out of range; weights that are no longer finite; as ``write_grad``.

    >>> import neuro
    >>> from neuro.plasticity import Oja
    >>> net = neuro.Sequential(neuro.Linear(2, 1, bias=False))
    >>> learn_locally(net, torch.tensor([[[2.0, 0.0], [-2.0, 0.0]]]), {"0": Oja()}, lr=0.2, passes=50, progress=False)
    >>> [abs(round(w, 2)) for w in net.layers["0"].weight.detach().flatten().tolist()]
    [1.0, 0.0]
    """
    if not (0 < lr < math.inf and passes >= 1 and batch_size >= 1):
        raise InputError(f"lr must be positive, passes and batch_size at least 1, got {lr}, {passes} and {batch_size}")
    draw = torch.Generator().manual_seed(seed)
    batches = [some for _ in range(passes) for some in torch.randperm(x.shape[1], generator=draw).split(batch_size)]
    learned = {name: net.layers[name].get_parameter(r.parameter) for name, r in rules.items() if name in net.layers}
    for k, some in enumerate(tqdm(batches, desc="learning", disable=None if progress else True, unit=" batches")):
        for parameter in learned.values():
            parameter.grad = None
        write_grad(net, x[:, some], rules)
        with torch.no_grad():
            for name, parameter in learned.items():
                assert parameter.grad is not None
                parameter.sub_(parameter.grad, alpha=lr * (1 - k / len(batches)))
                if not bool(torch.isfinite(parameter).all()):
                    raise InputError(f"the weights of layer {name!r} grew beyond bounds at lr={lr}; lower lr")
    for parameter in learned.values():
        parameter.grad = None
