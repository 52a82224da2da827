"""From another library's state dict to the values of a network made of its cells."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from neuro.compatibility.exchange import Peer
from neuro.errors import InputError
from neuro.network import Sequential, leaves

__all__ = ["load_state"]


@torch.no_grad()
def load_state(peer: Peer, net: Sequential, state: Mapping[str, Tensor]) -> None:
    """Fill ``net`` with the values of another library's state dict.

    Layers are paired by name; where the names differ, in order. One number (``[]`` or ``[1]``) fills any shape.

    Raises:
        InputError: an entry no layer takes, a trained value of ``net`` that no entry fills.
    """
    groups = _groups(peer, state)
    own = {name: dict(layer.state_dict(keep_vars=True)) for name, layer in leaves(net)}
    own = {name: tensors for name, tensors in own.items() if tensors}
    pairs = {name: name for name in groups} if groups.keys() <= own.keys() else _in_order(groups, own)
    filled: set[int] = set()
    for prefix, tensors in groups.items():
        for name, tensor in tensors.items():
            target = _taker(own[pairs[prefix]], name)
            if target is None or tensor.numel() not in (1, target.numel()):
                seen = "no such value" if target is None else f"one of shape {tuple(target.shape)}"
                raise InputError(
                    f"the state dict has {prefix}.{name} of shape {tuple(tensor.shape)}, layer {pairs[prefix]!r} of "
                    f"the network has {seen}"
                )
            target.copy_(tensor.reshape(()) if tensor.numel() == 1 else tensor.reshape(target.shape))
            filled.add(id(target))
    missing = sorted(name for name, value in net.named_parameters() if id(value) not in filled)
    if missing:
        raise InputError(f"the state dict does not fill {', '.join(missing)}")


def _groups(peer: Peer, state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    groups: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        last = next((n for n in peer.names if key == n or key.endswith(f".{n}")), key.rpartition(".")[2])
        prefix = key[: -len(last)].rstrip(".").replace(".", "_") or "layer"
        if last not in peer.ignored:
            added, _, name = peer.names.get(last, last).rpartition(".")
            groups.setdefault(prefix + added, {})[name] = peer.convert(last, tensor.detach())
    return groups


def _taker(have: Mapping[str, Tensor], name: str) -> Tensor | None:
    """The value of a layer called ``name``; those of the neurons of a recurrent layer stand in its cell."""
    return have.get(name, have.get(f"cell.{name}"))


def _in_order(groups: Mapping[str, Mapping[str, Tensor]], own: Mapping[str, Mapping[str, Tensor]]) -> dict[str, str]:
    """Each group with the next layer that has all its names."""
    left = iter(own.items())
    pairs = {}
    for prefix, tensors in groups.items():
        found = next((name for name, have in left if all(_taker(have, n) is not None for n in tensors)), None)
        if found is None:
            raise InputError(f"no layer of the network takes {prefix}.{', '.join(tensors)} of the state dict")
        pairs[prefix] = found
    return pairs
