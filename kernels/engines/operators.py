"""Operators of ``torch.library`` without the price of ``torch.library.custom_op``.

What :func:`operator` registers is the same: a schema read from the annotations, a kernel for
every device, a fake one, and autograd, so that ``opcheck`` passes and ``torch.compile`` takes the
op into its graph. ``custom_op`` would besides import torch's compiler at the first call (almost a
second) and look for aliases at every call (tens of microseconds, as much as a small layer takes).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

__all__ = ["Operator", "operator"]

_AUTOCAST = ("cpu", "cuda")


class Operator:
    """A registered operator: call it, or give it its fake kernel and its gradient."""

    def __init__(self, name: str, kernel: Callable[..., Any]) -> None:
        self.name, self.__doc__ = name, kernel.__doc__
        torch.library.define(name, torch.library.infer_schema(kernel, mutates_args=()))
        torch.library.impl(name, "CompositeExplicitAutograd", _in_its_own_precision(kernel))
        space, short = name.split("::")
        self._call: Callable[..., Any] = getattr(getattr(torch.ops, space), short).default

    def __call__(self, *arguments: Any) -> Any:
        """Run it on whatever device the tensors are on."""
        return self._call(*arguments)

    def register_fake(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """Shapes and dtypes of the outputs, for tensors without data."""
        registered: Callable[..., Any] = torch.library.register_fake(self.name, kernel)
        return registered

    def register_autograd(self, backward: Callable[..., Any], *, setup_context: Callable[..., Any]) -> None:
        """The gradient, as for ``torch.library.register_autograd``."""
        torch.library.register_autograd(self.name, backward, setup_context=setup_context)


def _in_its_own_precision(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel, whose products ``torch.autocast`` leaves alone, backward too."""

    @wraps(kernel)
    def run(*arguments: Any) -> Any:
        if not any(map(torch.is_autocast_enabled, _AUTOCAST)):
            return kernel(*arguments)
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return kernel(*arguments)

    return run


def operator(name: str) -> Callable[[Callable[..., Any]], Operator]:
    """Register the function it stands above as ``name``, ``"neuro::..."``; it may change none of its arguments.

    Raises:
        ValueError: annotations that no schema can be read from (torch's own message).
    """
    return lambda kernel: Operator(name, kernel)
