"""From another library's modules to a network of ours, one layer at a time.

Nothing here imports another library: a module is known by the name of its class and read by its
attributes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.network import Sequential
from neuro.neurons.cell import Cell
from neuro.neurons.recurrent import Recurrent
from neuro.synapses import Conv2d, Flatten, Linear

__all__ = ["Learned", "Loaded", "Made", "Maker", "Modules", "Peer", "linear", "load", "make_cell", "require", "scalar"]

Modules = nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module]
"""What a library's network may be handed over as."""


class Loaded(NamedTuple):
    """A network equal to another library's, and the edges that this library's backward leaves out.

    ``net(x, route=route)`` gives its output and, in backward, its gradients.
    """

    net: Sequential
    route: Route


class Made(NamedTuple):
    """What one module became.

    Attributes:
        layer: ours.
        attached: whether gradients pass from the spike to the reset; None where nothing is reset.
        synapses: what stands before the layer, where the module holds them, too.
    """

    layer: nn.Module
    attached: bool | None = None
    synapses: nn.Module | None = None


Maker = Callable[[Any, tuple[int, ...], Surrogate | None], Made]
"""Function of (a module, the size of its input, the surrogate to take instead of its own) that makes our layer."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another library, as far as its modules are known.

    Attributes:
        package: the name it is imported by.
        layers: name of a class -> function that makes ours.
        containers: names of classes that run their children in order, beside ``nn.Sequential``.
        names: how the last parts of a name in its state dict are called here; ``"_input.weight"`` is that of the
            synapses before the layer.
        ignored: last parts of names that hold no value of the network (states left behind).
        convert: function of (last part of a name, tensor) that makes the tensor ours.
        inputs: number of inputs of a module of its own, where the module says it.
    """

    package: str
    layers: Mapping[str, Maker]
    containers: frozenset[str] = frozenset()
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    convert: Callable[[str, Tensor], Tensor] = lambda _, tensor: tensor
    inputs: Callable[[Any], int | None] = lambda _: None

    def owns(self, module: nn.Module) -> bool:
        """Whether the class of ``module`` itself, not one it is derived from, comes from this library."""
        return type(module).__module__.split(".")[0] == self.package


def require(condition: bool, module: nn.Module, problem: str) -> None:
    """Refuse ``module`` unless ``condition`` holds."""
    if not condition:
        raise InputError(f"{type(module).__name__} cannot be run exactly: {problem}")


def scalar(module: nn.Module, name: str, value: Any) -> float:
    """``value`` of the setting ``name`` of ``module`` as one number (a scalar, or a tensor of equal elements)."""
    flat = torch.as_tensor(value).detach().double().flatten()
    require(flat.numel() > 0 and bool((flat == flat[0]).all()), module, f"{name} differs from neuron to neuron")
    return float(flat[0])


class Learned(NamedTuple):
    """A value of a cell and whether it trains."""

    value: Any
    trains: bool = False

    @classmethod
    def of(cls, value: Any) -> Learned:
        """``value`` as its library holds it: it trains if it is a tensor that takes a gradient."""
        return cls(value, isinstance(value, Tensor) and value.requires_grad)


def make_cell(
    kind: type[Cell], module: nn.Module, size: tuple[int, ...], values: Mapping[str, Learned], **options: Any
) -> Cell:
    """A cell of class ``kind`` and shape ``size`` with the values of ``module``.

    Values are numbers, or tensors of shape ``[]``, ``[1]`` or one that broadcasts to ``size``; in the units
    the cell declares, per step or SI.

    Raises:
        InputError: a value that trains and is shared by some of the neurons, but not by all.
    """
    parameters: dict[str, Any] = {}
    shared = []
    for name, (value, trains) in values.items():
        tensor = torch.as_tensor(value, dtype=torch.float64).detach()
        whole = tensor.numel() == 1
        require(
            whole or not trains or tuple(tensor.shape) == size,
            module,
            f"{name} of shape {tuple(tensor.shape)} trains, and is neither one number nor one per neuron {size}",
        )
        parameters[name] = tensor.reshape(()) if whole else tensor.expand(size)
        if whole and trains:
            shared.append(name)
    learn = [name for name, (_, trains) in values.items() if trains]
    return kind(size, learn=learn, shared=shared, **options, **parameters)


def load(
    peer: Peer,
    modules: Modules,
    *,
    input_size: int | Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
    surrogate: Surrogate | None = None,
    dt: float | None = None,
) -> Loaded:
    """The network equal to ``modules``, one step every ``dt`` seconds; see the ``load`` of each library.

    Raises:
        InputError: a layer that cannot be equal, with the reason; no ``input_size`` where it is needed.
    """
    layers: dict[str, nn.Module] = {}
    attached: dict[str, bool] = {}
    size = _first_size(peer, modules, input_size)
    for name, module in _flatten(peer, modules, ""):
        made = _layer(peer, module, size, name, surrogate)
        if made is None:
            continue
        layers |= {} if made.synapses is None else {f"{name}_input": made.synapses}
        layers[name] = made.layer
        if made.attached is not None:
            attached[name] = made.attached
        size = _size_after(made.layer, size, name)
    if len(set(attached.values())) > 1:
        raise InputError(
            f"resets pass gradients in some layers and not in others ({attached}), and a route holds for all of "
            "them; make them alike"
        )
    if dt is not None:
        for layer in layers.values():
            _set_step(layer, dt)
    net = Sequential(layers)
    net.to(dtype or _dtype(peer, modules))
    return Loaded(net, Route(cut_reset=not any(attached.values())))


def _set_step(layer: nn.Module, dt: float) -> None:
    cell = layer.cell if isinstance(layer, Recurrent) else layer
    if isinstance(cell, Cell):
        cell.dt = dt


def _children(modules: Modules) -> Iterable[tuple[str, nn.Module]]:
    if isinstance(modules, nn.Module):
        return modules.named_children()
    if isinstance(modules, Mapping):
        return modules.items()
    return ((str(k), m) for k, m in enumerate(modules))


def _is_container(peer: Peer, modules: Modules) -> bool:
    if not isinstance(modules, nn.Module) or isinstance(modules, nn.Sequential):
        return True
    return peer.owns(modules) and type(modules).__name__ in peer.containers


def _flatten(peer: Peer, modules: Modules, prefix: str) -> Iterable[tuple[str, nn.Module]]:
    """Layers in the order they run, named as in the state dict (dots read as underscores)."""
    if not _is_container(peer, modules):
        modules = {"layer": modules}  # type: ignore[dict-item]
    for name, child in _children(modules):
        if _is_container(peer, child):
            yield from _flatten(peer, child, f"{prefix}{name}_")
        else:
            yield f"{prefix}{name}", child


def _first_size(peer: Peer, modules: Modules, given: int | Sequence[int] | None) -> tuple[int, ...]:
    if given is not None:
        return (given,) if isinstance(given, int) else tuple(given)
    name, first = next(iter(_flatten(peer, modules, "")), ("", nn.Identity()))
    if isinstance(first, nn.Linear):
        return (first.in_features,)
    if peer.owns(first) and (inputs := peer.inputs(first)) is not None:
        return (inputs,)
    raise InputError(
        f"layer {name!r} ({type(first).__name__}) does not say its input; give input_size=, a number or (C, H, W)"
    )


def _layer(peer: Peer, module: nn.Module, size: tuple[int, ...], name: str, surrogate: Surrogate | None) -> Made | None:
    if peer.owns(module) and type(module).__name__ in peer.layers:
        return peer.layers[type(module).__name__](module, size, surrogate)
    if isinstance(module, nn.Linear):
        return Made(linear(module.weight, module.bias))
    if isinstance(module, nn.Conv2d):
        return Made(_convolution(module))
    if isinstance(module, nn.Flatten):
        require(module.start_dim == 1 and module.end_dim == -1, module, "it joins other axes than those of a sample")
        return Made(Flatten())
    if isinstance(module, nn.Identity) or (isinstance(module, nn.Dropout) and not module.training):
        return None
    require(not isinstance(module, nn.Dropout), module, f"layer {name!r} is random while it trains; call .eval()")
    known = ", ".join(["Linear", "Conv2d", "Flatten", *sorted(peer.layers)])
    raise InputError(
        f"layer {name!r} is a {type(module).__module__}.{type(module).__name__}, which is none of {known}; a module "
        "with a forward of its own is handed over as the list of its layers, in the order they run"
    )


def linear(weight: Tensor, bias: Tensor | None) -> Linear:
    """Synapses with ``weight [out, in]`` and ``bias [out]``, copied."""
    made = Linear(weight.shape[1], weight.shape[0], bias=bias is not None).to(weight.dtype)
    _copy(made, weight, bias)
    return made


def _convolution(module: nn.Conv2d) -> Conv2d:
    plain = module.dilation == (1, 1) and module.groups == 1 and module.padding_mode == "zeros"
    require(plain and not isinstance(module.padding, str), module, "dilation, groups and named padding are not known")
    made = Conv2d(
        module.in_channels,
        module.out_channels,
        (module.kernel_size[0], module.kernel_size[1]),
        (module.stride[0], module.stride[1]),
        (int(module.padding[0]), int(module.padding[1])),
        bias=module.bias is not None,
    ).to(module.weight.dtype)
    _copy(made, module.weight, module.bias)
    return made


@torch.no_grad()
def _copy(made: Linear | Conv2d, weight: Tensor, bias: Tensor | None) -> None:
    made.weight.copy_(weight).requires_grad_(weight.requires_grad)
    if bias is not None and made.bias is not None:
        made.bias.copy_(bias).requires_grad_(bias.requires_grad)


def _size_after(layer: nn.Module, size: tuple[int, ...], name: str) -> tuple[int, ...]:
    if isinstance(layer, Cell | Recurrent):
        return layer.size
    like = next(layer.parameters(), torch.empty(0)).dtype
    try:
        return tuple(layer(torch.zeros(1, 1, *size, dtype=like)).shape[2:])
    except (InputError, RuntimeError) as error:
        raise InputError(f"layer {name!r} does not take an input of size {size}; give input_size= ({error})") from None


def _dtype(peer: Peer, modules: Modules) -> torch.dtype:
    layers = [module for _, module in _flatten(peer, modules, "")]
    held = (t.dtype for m in layers for t in m.state_dict().values() if t.is_floating_point())
    return next(held, torch.get_default_dtype())
