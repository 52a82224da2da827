"""Training checkpoints: written whole or not at all, read without running code from them."""

from __future__ import annotations

import io
import pickle  # noqa: TID251 - for the name of its error
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from neuro.errors import FileFormatError, InputError
from neuro.files import atomic_write

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["SECTION", "AtomicCheckpointIO", "check_architecture", "read_checkpoint"]

_DAMAGE = (pickle.UnpicklingError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError)

SECTION = "neuro"
"""The key of a checkpoint under which everything that is not Lightning's own stands."""


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's way to disk: atomic writes, weights-only reads."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write ``checkpoint``; a crash or a full disk leaves the file that stood there."""
        del storage_options
        content = io.BytesIO()  # torch's own file writer turns a full disk into an error that does not say so
        torch.save(checkpoint, content)
        with atomic_write(path) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """As :func:`read_checkpoint`."""
        del map_location, weights_only
        return read_checkpoint(path)

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file if it is there."""
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint of :func:`neuro.fit`, on the CPU.

    Raises:
        InputError: there is no such file.
        FileFormatError: the file is truncated, corrupt or not such a checkpoint.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such checkpoint; train with this output first")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0]
        raise FileFormatError(path, f"truncated or corrupt checkpoint, train again ({reason})") from error
    if not (isinstance(content, dict) and SECTION in content):
        raise FileFormatError(path, "not a training checkpoint of neuro; give the last.ckpt that neuro.fit wrote")
    return content


def check_architecture(net: Network, saved: Mapping[str, Any], path: str | Path) -> None:
    """Refuse a checkpoint whose network is not ``net``.

    Args:
        net: the network that should go on.
        saved: the checkpoint's own section, with ``definition`` and ``best_weights``.
        path: named in the message.

    Raises:
        InputError: the first parameter whose shape, or the first entry of the definition, differs.
    """
    difference = _first_shape(net.state_dict(), saved["best_weights"]) or _first_entry(
        saved["definition"], net.definition(), "network"
    )
    if difference:
        raise InputError(
            f"{path}: checkpoint of another architecture: {difference}; "
            "build the network as it was trained, or train anew in another output folder"
        )


def _first_shape(here: Mapping[str, torch.Tensor], there: Mapping[str, torch.Tensor]) -> str | None:
    for name in [*there, *(name for name in here if name not in there)]:
        ours, theirs = (str(list(part[name].shape)) if name in part else "missing" for part in (here, there))
        if ours != theirs:
            return f"{name} is {theirs} in the file, {ours} in the network"
    return None


def _first_entry(there: Any, here: Any, where: str) -> str | None:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        pairs = [(str(key), there.get(key, "missing"), here.get(key, "missing")) for key in {**there, **here}]
    elif isinstance(there, list | tuple) and isinstance(here, list | tuple) and len(there) == len(here):
        pairs = [(str(index), *both) for index, both in enumerate(zip(there, here, strict=True))]
    else:
        return None if there == here else f"{where} is {there!r} in the file, {here!r} in the network"
    return next(filter(None, (_first_entry(old, new, f"{where}.{key}") for key, old, new in pairs)), None)
