"""Online training through time: presynaptic traces instead of a stored past.

The sequence runs in stretches; what is carried from one to the next does not grow with T. A loss that is a sum over
steps is learnt from as it comes; for any other the output is computed first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from neuro.training.rules.base import About, RuleResult
from neuro.training.rules.local.chain import Block, add_grad, chain
from neuro.training.rules.local.sweep import Sweep, stretches
from neuro.training.rules.online import OnlineRule, Reading

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["OTTT", "OTTTOnline"]


@dataclass(frozen=True)
class OTTT(OnlineRule):
    """Online training through time: the error of a step by itself, times a trace of the presynaptic spikes.

    ``dL/dW = sum_t g[t] a[t]``, ``a[t] = lambda a[t-1] + x[t]``, with g the gradient by the currents in which membranes of
    earlier steps count as constants (that of SLTT), and the trace filtered as the membrane filters its current. Parameters
    of cells get their gradient within the step.

    Args:
        chunk: steps run at once; changes memory, not results.
        every: steps after which :meth:`updates` pauses for the optimizer, 1 for the online form of the paper (OTTT_O); the
            loss must be a sum over steps then, as :data:`neuro.losses.tet` is. None: at the end of the sequence.

    Raises:
        InputError: a network that is no chain of affine synapses and cells declared by equations; a loss that is known at
            the end only, with ``every``.
    """

    about: ClassVar[About] = About(
        paper="Xiao et al. 2022, Online training through time for spiking neural networks",
        memory="flat in T: one trace for each presynaptic neuron, and one chunk",
        time="traces, and a backward pass without time; a second forward pass but for losses that are sums over steps",
        needs="a chain of dense or convolutional synapses and cells, no normalisation in training; any loss",
        exact="for the weights of one layer without reset edge, neurons sharing their time constants",
    )

    def stretches(self, net: Network, x: Tensor, read: Reading, chunk: int) -> Iterator[RuleResult]:
        """As in :meth:`OnlineRule.stretches`; ``x`` is ``[T, B, ...]``."""
        blocks = chain(net, "OTTT")
        if read.waits(chunk):
            read.read_all(stretches(blocks, x, chunk))
        sweep = Sweep(blocks, "OTTT")
        for start, part in zip(range(0, len(x), chunk), x.split(chunk), strict=True):
            self._stretch(blocks, sweep, part, partial(read.told, start=start))
            yield read.result

    def _stretch(self, blocks: tuple[Block, ...], sweep: Sweep, x: Tensor, told: Callable[[Tensor], Tensor]) -> None:
        inputs, drives, outputs = [], [], []
        with torch.enable_grad():
            for i, block in enumerate(blocks):
                inputs.append(x.detach())
                # A current that no weight made is there too, so that every block has a place to read g at.
                drives.append(block.drive(x) + torch.zeros((), dtype=x.dtype, device=x.device, requires_grad=True))
                x, sweep.states[i] = block.respond(drives[-1], sweep.states[i])
                outputs.append(x.detach())
            learned = [p for b in blocks if b.cell is not None for p in b.cell.parameters() if p.requires_grad]
            signals = torch.autograd.grad(x, [*drives, *learned], told(outputs[-1]), allow_unused=True)
        with torch.no_grad():
            for parameter, grad in zip(learned, signals[len(drives) :], strict=True):
                add_grad(parameter, grad)
            for i, block in enumerate(blocks):
                if signals[i] is not None:
                    block.add_synaptic(*sweep.pre_factor(i, inputs[i]), signals[i])
                    sweep.add_recurrent(i, outputs[i], signals[i])


@dataclass(frozen=True)
class OTTTOnline(OTTT):
    """:class:`OTTT` whose optimizer steps at every time step (OTTT_O of Xiao et al. 2022), within the sequence."""

    every: int | None = 1

    about: ClassVar[About] = replace(
        OTTT.about,
        time="one pass with traces, and an optimizer step for each time step",
        needs="as ottt; a loss that is a sum over steps (tet); a lower learning rate, for T steps of the optimizer a batch",
        exact="as ottt, where the learning rate goes to 0",
    )
