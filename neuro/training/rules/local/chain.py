"""A network as a chain of blocks: affine synapses, then the neurons they drive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.func import functional_call

from neuro.errors import InputError
from neuro.kernels import Route
from neuro.kernels.propagation.dense import correlation
from neuro.layer import State, StatefulLayer
from neuro.network import Network, Sequential
from neuro.neurons import Cell
from neuro.neurons.delayed_recurrent import DelayedRecurrent
from neuro.neurons.recurrent import Recurrent
from neuro.synapses import Conv1d, Conv2d, Flatten, Linear, OneToOne, SparseLinear, SumPool2d

__all__ = ["Block", "add_grad", "chain", "is_constant", "outer"]

_AFFINE = (Conv1d, Conv2d, Flatten, Linear, OneToOne, SparseLinear, SumPool2d)
_SPATIAL = Route(cut_time=True, cut_recurrence=True)


@dataclass(frozen=True, eq=False)
class Block:
    """Synapses and the neurons they drive.

    Args:
        name: of the neurons; of the last synapses where none follow.
        synapses: affine layers without state, one of them with weights.
        neurons: cells declared by equations, with or without recurrent synapses; None puts out the drive.
    """

    name: str
    synapses: tuple[nn.Module, ...]
    neurons: Cell | Recurrent | None

    def drive(self, x: Tensor) -> Tensor:
        """What the synapses make of ``x [T, B, ...]``; once, where one picture is shown all the time."""
        if is_constant(x):
            made = self.drive(x[:1])
            return made.expand(len(x), *made.shape[1:])
        for synapse in self.synapses:
            x = synapse(x)
        return x

    def carry_back(self, x: Tensor, post: Tensor, weights: Mapping[str, Tensor] = MappingProxyType({})) -> Tensor:
        """``dL/dx [t, B, ...]`` of the same step, where ``post`` is ``dL/d(drive)``.

        Args:
            x: input of the synapses.
            post: shaped as the drive.
            weights: what takes the place of parameters of the synapses, ``"<number>.<name>"`` each.
        """
        given = x.detach().requires_grad_()
        with torch.enable_grad():
            drive = given
            for number, synapse in enumerate(self.synapses):
                own = {n: weights[f"{number}.{n}"] for n, _ in synapse.named_parameters() if f"{number}.{n}" in weights}
                drive = functional_call(synapse, own, (drive,))
        (made,) = torch.autograd.grad(drive, given, post)
        return made

    def respond(self, drive: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        """What the neurons make of it; backward ignores the edges from step to step."""
        if self.neurons is None:
            return drive, None
        output, after = self.neurons(drive, state, route=_SPATIAL)
        return output, tuple(part.detach() for part in after)

    def forward(self, x: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        """Synapses and neurons."""
        return self.respond(self.drive(x), state)

    @property
    def weighted(self) -> list[nn.Parameter]:
        """What the synapses learn."""
        return [p for synapse in self.synapses for p in synapse.parameters() if p.requires_grad]

    @property
    def cell(self) -> Cell | None:
        """The cell declared by equations."""
        return self.neurons.cell if isinstance(self.neurons, Recurrent) else self.neurons

    @property
    def recurrent(self) -> nn.Parameter | None:
        """Weights ``[N, N]`` of the neurons onto themselves."""
        return self.neurons.weight if isinstance(self.neurons, Recurrent) else None

    def add_synaptic(self, pre: Tensor, ones: Tensor, post: Tensor) -> None:
        """Add ``sum_t post_i(t) pre_j(t)`` to ``.grad`` of weights, ``sum_t post_i(t) ones(t)`` to that of biases.

        Args:
            pre: presynaptic factor, shaped as the input ``[T, B, ...]``.
            ones: ``[T]``, the presynaptic factor of a bias: what ``pre`` is where the input is always one.
            post: postsynaptic factor times modulator, shaped as the drive ``[T, B, *size]``.
        """
        if len(self.synapses) == 1 and type(self.synapses[0]) is Linear:
            _add_dense(self.synapses[0], pre, ones, post)
            return
        learned = {name: p for s in self.synapses for name, p in _named(s).items()}
        if not learned:
            return
        with torch.enable_grad():
            drive = self.drive(pre.detach())
        biases = [p for name, p in learned.items() if name.endswith("bias")]
        weights = [p for name, p in learned.items() if not name.endswith("bias")]
        timed = post * ones.view(-1, *(1,) * (post.dim() - 1))
        for group, cotangent in ((weights, post), (biases, timed)):
            if group:
                made = torch.autograd.grad(drive, group, cotangent, retain_graph=True)
                for parameter, grad in zip(group, made, strict=True):
                    add_grad(parameter, grad)


def _named(synapse: nn.Module) -> dict[str, nn.Parameter]:
    return {f"{id(synapse)}.{name}": p for name, p in synapse.named_parameters() if p.requires_grad}


def _add_dense(layer: Linear, pre: Tensor, ones: Tensor, post: Tensor) -> None:
    if layer.weight.requires_grad:
        add_grad(layer.weight, outer(post, pre))
    if layer.bias is not None and layer.bias.requires_grad:
        add_grad(layer.bias, ones @ post.sum(1))


def outer(post: Tensor, pre: Tensor) -> Tensor:
    """``sum_t post_i(t) pre_j(t)`` over steps and samples: ``[T, B, *size]``, ``[T, B, ...]`` -> ``[O, I]``."""
    rows, columns = (part.flatten(0, 1).flatten(1) for part in (post, pre))
    # under torch.autocast one of them may be in half precision
    wide = torch.promote_types(rows.dtype, columns.dtype)
    return correlation(rows.to(wide), columns.to(wide))


def is_constant(x: Tensor) -> bool:
    """Whether all steps of ``x [T, ...]`` are one piece of memory, as ``torch.Tensor.expand`` makes it."""
    return len(x) > 1 and x.stride(0) == 0


@torch.no_grad()
def add_grad(parameter: Tensor, grad: Tensor | None) -> None:
    """Add to ``.grad``, in place where there is one, as ``torch.Tensor.backward`` does."""
    if grad is None:
        return
    if parameter.grad is None:  # others may hold what is given; a product under torch.autocast is in half precision
        parameter.grad = grad.detach().to(parameter.dtype, copy=True, memory_format=torch.contiguous_format)
    else:
        parameter.grad.add_(grad.detach())


def chain(net: Network, rule: str) -> tuple[Block, ...]:
    """The blocks of ``net``, from input to output.

    Raises:
        InputError: recurrent synapses with delays; a layer that is no affine synapse and no cell, two weighted synapses without neurons between
            them, or neurons without synapses; the message says which rule works.
    """
    blocks: list[Block] = []
    waiting: list[nn.Module] = []
    layers = list(_layers(net, rule))
    for name, layer in layers:
        if isinstance(layer, DelayedRecurrent):
            raise InputError(
                f"{rule} takes recurrent synapses with one step of delay, but layer {name!r} is a DelayedRecurrent; "
                "use neuro.Recurrent, or rule='bptt'"
            )
        if isinstance(layer, Cell | Recurrent):
            blocks.append(Block(name, tuple(waiting), layer))
            waiting = []
        else:
            _check(name, layer, rule)
            waiting.append(layer)
    if waiting:
        blocks.append(Block(layers[-1][0], tuple(waiting), None))
    for block in blocks:
        _check_weights(block, rule)
    return tuple(blocks)


def _layers(net: Network, rule: str) -> Iterator[tuple[str, nn.Module]]:
    """Names and layers in order, those of nested sequences with theirs."""
    if not isinstance(net, Sequential):
        raise InputError(
            f"{rule} trains a chain, a neuro.Sequential, got a {type(net).__name__}; use rule='sltt', whose memory does "
            "not grow with time either"
        )
    for name, layer in net.layers.items():
        if isinstance(layer, Sequential):
            yield from ((f"{name}.{inner}", part) for inner, part in _layers(layer, rule))
        else:
            yield name, layer


def _check(name: str, layer: nn.Module, rule: str) -> None:
    if isinstance(layer, _AFFINE):
        return
    kind = type(layer).__name__
    if isinstance(layer, StatefulLayer):
        why = "has a state whose trace no factor of this rule describes"
    else:
        why = "is not an affine synapse, so what comes in is not what its weights see"
    raise InputError(
        f"{rule} trains chains of synapses {_kinds(_AFFINE)} and cells declared by equations; layer {name!r} "
        f"({kind}) {why}; take it out, or use rule='sltt', whose memory does not grow with time either"
    )


def _check_weights(block: Block, rule: str) -> None:
    weighted = [s for s in block.synapses if any(True for _ in s.parameters())]
    if len(weighted) > 1:
        raise InputError(
            f"{rule} has one presynaptic factor per block, but {len(weighted)} layers of weights come before "
            f"{block.name!r}; put neurons between them, or use rule='sltt'"
        )


def _kinds(kinds: Sequence[type]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)
