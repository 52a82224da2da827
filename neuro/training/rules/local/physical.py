"""Forward-Forward where no model of the layers is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from neuro.errors import InputError
from neuro.neurons import Cell
from neuro.neurons.recurrent import Recurrent
from neuro.synapses import Linear
from neuro.training.rules.base import About
from neuro.training.rules.local.chain import Block
from neuro.training.rules.local.forward_forward import ForwardForward, Stage

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["PhysicalForwardForward"]


@dataclass(frozen=True)
class PhysicalForwardForward(ForwardForward):
    """Forward-Forward on layers that can only be run: noisy, drifting, without a gradient.

    Goodness is that of what a ``Linear`` sends into whatever follows it, ``h = W a``, so the gradient
    ``dL/dh a^T`` reads the measured input ``a`` and nothing of the maps around it: a crossbar, a chip,
    a callable in a module. Momeni et al., "Backpropagation-free training of deep physical neural networks",
    Science 2023. The readout, the last ``Linear`` and a cell after it, if any, must be a model.

    Raises:
        InputError: as :class:`ForwardForward`; later, parameters outside the Linear layers.
    """

    about: ClassVar[About] = About(
        paper="Momeni et al. 2023, Backpropagation-free training of deep physical neural networks",
        memory="flat in T: states, traces and one chunk of steps",
        time="three forward passes and local products",
        needs="Linear layers between maps that need only run; a modelled readout",
        exact="its own goodness of what Linear layers send; the last layer",
    )

    threshold: float = 1.0
    sharpness: float = 4.0

    def stages(self, net: Network) -> tuple[tuple[Stage, ...], Block]:
        """Hidden Linear layers with what follows each, and the readout."""
        names, layers = list(net.layers), list(net.layers.values())
        starts = [k for k, layer in enumerate(layers) if isinstance(layer, Linear)]
        if not starts or starts[0] != 0:
            raise InputError(
                f"{type(self).__name__} trains Linear layers and the first layer must be one, got {names[0]!r} "
                f"({type(layers[0]).__name__}); put a Linear before it"
            )
        ends = [*starts[1:], len(layers)]
        stages = [
            Stage(Block(names[a], (layers[a],), None), tuple(layers[a + 1 : b]))
            for a, b in zip(starts, ends, strict=True)
        ]
        last = stages.pop()
        return self._some(stages), self._readout(last, names[-1])

    def _readout(self, last: Stage, name: str) -> Block:
        cells = [layer for layer in last.after if isinstance(layer, Cell | Recurrent)]
        if len(last.after) > 1 or len(cells) != len(last.after):
            kinds = [type(layer).__name__ for layer in last.after]
            raise InputError(
                f"{type(self).__name__} needs a model of the readout: a Linear, or a Linear and one cell declared by "
                f"equations, got Linear and {kinds}; add a Linear as the last layer"
            )
        synapse: nn.Module = last.block.synapses[0]
        return Block(name, (synapse,), cells[0] if cells else None)
