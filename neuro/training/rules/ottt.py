"""Online training through time: presynaptic traces instead of a stored past.

The sequence runs in stretches; what is carried from one to the next does not grow with T. The output is computed
first, so that any loss can be used; of a loss that is a sum over steps, no step needs to know of later ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from neuro.training.rules.base import About, Rule, RuleResult, need_whole
from neuro.training.rules.local.chain import Block, add_grad, chain
from neuro.training.rules.local.sweep import Sweep, run

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["OTTT"]


def _judged(
    blocks: tuple[Block, ...], x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor], chunk: int
) -> Any:
    """Output, loss and ``dL/d(output)`` ``[T, B, C]``."""
    output = run(blocks, x, chunk).requires_grad_()
    value = loss(output, y)
    (error,) = torch.autograd.grad(value, output)
    return output.detach(), value.detach(), error


@dataclass(frozen=True)
class OTTT(Rule):
    """Online training through time: the error of a step by itself, times a trace of the presynaptic spikes.

    ``dL/dW = sum_t g[t] a[t]``, ``a[t] = lambda a[t-1] + x[t]``, with g the gradient by the currents in which membranes of
    earlier steps count as constants (that of SLTT), and the trace filtered as the membrane filters its current. Parameters
    of cells get their gradient within the step.

    Args:
        chunk: steps run at once; changes memory, not results.

    Raises:
        InputError: a network that is no chain of affine synapses and cells declared by equations.
    """

    chunk: int = 32

    about: ClassVar[About] = About(
        paper="Xiao et al. 2022, Online training through time for spiking neural networks",
        memory="one trace for each presynaptic neuron, one chunk, and the output",
        time="a second forward pass, traces, and a backward pass without time",
        needs="a chain of dense or convolutional synapses and cells, no normalisation in training; any loss",
        exact="for the weights of one layer without reset edge, neurons sharing their time constants",
    )

    def __post_init__(self) -> None:
        need_whole("chunk", self.chunk)

    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """As in :meth:`Rule.backward`."""
        blocks = chain(net, "OTTT")
        output, value, error = _judged(blocks, x, y, loss, self.chunk)
        sweep = Sweep(blocks, "OTTT")
        for part, told in zip(x.split(self.chunk), error.split(self.chunk), strict=True):
            self._stretch(blocks, sweep, part, told)
        return RuleResult(value, output)

    def _stretch(self, blocks: tuple[Block, ...], sweep: Sweep, x: Tensor, error: Tensor) -> None:
        inputs, drives, outputs = [], [], []
        with torch.enable_grad():
            for i, block in enumerate(blocks):
                inputs.append(x.detach())
                # A current that no weight made is there too, so that every block has a place to read g at.
                drives.append(block.drive(x) + torch.zeros((), dtype=x.dtype, device=x.device, requires_grad=True))
                x, sweep.states[i] = block.respond(drives[-1], sweep.states[i])
                outputs.append(x.detach())
            learned = [p for b in blocks if b.cell is not None for p in b.cell.parameters() if p.requires_grad]
            signals = torch.autograd.grad(x, [*drives, *learned], error, allow_unused=True)
        with torch.no_grad():
            for parameter, grad in zip(learned, signals[len(drives) :], strict=True):
                add_grad(parameter, grad)
            for i, block in enumerate(blocks):
                if signals[i] is not None:
                    block.add_synaptic(*sweep.pre_factor(i, inputs[i]), signals[i])
                    sweep.add_recurrent(i, outputs[i], signals[i])
