"""The definition every engine is held to: a plain torch loop over time.

Differentiable by autograd, works in float32 and float64 on any device torch has. With
``smooth=True`` the spike is the antiderivative of the surrogate, so that its true gradient is
the surrogate gradient and finite differences can check it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import sympy
import torch
from torch import Tensor

from neuro.kernels.compiler.equations import symbol
from neuro.kernels.compiler.printing import Dialect, to_text
from neuro.kernels.compiler.program import Program
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import SURROGATES, Surrogate

__all__ = ["coefficients", "reference_scan", "torch_function"]


def _phi1(a: Tensor) -> Tensor:
    near = a.abs() < 1e-4
    safe = torch.where(near, torch.ones_like(a), a)
    return torch.where(near, 1 + a / 2 + a * a / 6, torch.expm1(safe) / safe)


_TORCH = Dialect(
    number=lambda value: f"({value!r})",
    functions=MappingProxyType(
        {name: f"torch.{name}" for name in ("exp", "log", "sqrt", "tanh", "sin", "cos", "abs", "atan", "erf", "floor")}
        | {"phi1": "phi1"}
    ),
    select=lambda condition, then, otherwise: f"torch.where({condition}, {then}, {otherwise})",
)


@lru_cache(maxsize=1024)
def torch_function(expressions: tuple[sympy.Expr, ...], arguments: tuple[str, ...]) -> Callable[..., tuple[Any, ...]]:
    """``expressions`` as one function of tensors named ``arguments``."""
    body = ", ".join(to_text(e, _TORCH) for e in expressions)
    source = f"lambda {', '.join(arguments)}: ({body}{',' if expressions else ''})"
    # The text is printed from parsed SymPy expressions of the declaration, never read from a file.
    made: Callable[..., tuple[Any, ...]] = eval(source, {"torch": torch, "phi1": _phi1, "math": math})
    return made


def coefficients(program: Program, parameters: dict[str, Tensor], dt: float) -> list[Tensor]:
    """Values of the program's coefficients; differentiable in the parameters.

    Args:
        parameters: each a 0-d tensor or ``[N]``, in SI units; with a refractory period also
            ``refractory_period``.
        dt: time step in seconds.

    Returns:
        One tensor per coefficient, broadcastable to ``[N]``.
    """
    names = tuple(parameters)
    values = torch_function(program.coefficients, ("dt", *names))(dt, *parameters.values())
    like = next(iter(parameters.values()))
    return [v if isinstance(v, Tensor) else torch.as_tensor(v, dtype=like.dtype, device=like.device) for v in values]


class _Spike(torch.autograd.Function):
    """Heaviside step forward, surrogate backward."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(drive)
        ctx.surrogate = surrogate
        return (drive > 0).to(drive.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (drive,) = ctx.saved_tensors
        return grad * slope(drive, ctx.surrogate), None


def slope(drive: Tensor, surrogate: Surrogate) -> Tensor:
    """Surrogate derivative at ``drive`` (same shape)."""
    shape = torch_function((SURROGATES[surrogate.family].shape,), ("u",))
    return surrogate.peak * torch.as_tensor(shape(drive / surrogate.width)[0]).to(drive.dtype)


def _hard_spike(drive: Tensor, surrogate: Surrogate) -> Tensor:
    z: Tensor = _Spike.apply(drive, surrogate)  # type: ignore[no-untyped-call]
    return z


def _smooth_spike(drive: Tensor, surrogate: Surrogate) -> Tensor:
    primitive = torch_function((SURROGATES[surrogate.family].primitive,), ("u",))
    value: Tensor = primitive(drive / surrogate.width)[0]
    return 0.5 + surrogate.peak * surrogate.width * value


def reference_scan(
    program: Program,
    inputs: Sequence[Tensor],
    state: Sequence[Tensor],
    coefficient_values: Sequence[Tensor],
    *,
    surrogate: Surrogate,
    route: Route,
    smooth: bool = False,
    seen: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Run ``program`` over time, step by step.

    Args:
        inputs: one ``[T, B, N]`` tensor per input, in time-major order.
        state: one ``[B, N]`` tensor per state, after the reset of the step before.
        coefficient_values: one tensor per coefficient, broadcastable to ``[N]``.
        smooth: differentiable spikes for gradient checks.
        seen: what the threshold sees of the first state, ``[B, N]`` to ``[B, N]``; the state itself unless given.

    Returns:
        Output ``[T, B, N]``; final states, each ``[B, N]``; the states before reset, each
        ``[T, B, N]``.
    """
    step = torch_function(program.update, (*program.states, *program.inputs, *_names(program)))
    after = torch_function(_after(program), (*program.states, "z", *_names(program)))
    now = list(state)
    outputs, trace = [], []
    for x in zip(*(i.unbind(0) for i in inputs), strict=True):
        if route.cut_time:
            now = [s.detach() for s in now]
        made = step(*now, *x, *coefficient_values)
        pre = [s if isinstance(s, Tensor) else torch.full_like(x[0], s) for s in made]  # a map may be a number
        drive, _, *targets = after(*pre, pre[0], *coefficient_values)
        if seen is not None:
            drive = after(seen(pre[0]), *pre[1:], pre[0], *coefficient_values)[0]
        z = torch.zeros_like(pre[0])
        if program.drive is not None:
            z = _smooth_spike(drive, surrogate) if smooth else _hard_spike(drive, surrogate)
        outputs.append(after(*pre, z, *coefficient_values)[1] + torch.zeros_like(pre[0]))
        trace.append(pre)
        gate = z.detach() if route.cut_reset else z
        now = [_reset(p, t, gate, smooth) for p, t in zip(pre, targets, strict=True)]
    if not outputs:
        return inputs[0] * 0, now, [inputs[0] * 0 for _ in program.states]
    return torch.stack(outputs), now, [torch.stack(t) for t in zip(*trace, strict=True)]


def _reset(pre: Tensor, target: Tensor, gate: Tensor, smooth: bool) -> Tensor:
    if smooth:
        return pre + gate * (target - pre)
    # Exact values from the choice, the gradient of the blend (which can round differently).
    exact = torch.where(gate > 0, target, pre)
    return exact if not gate.requires_grad else exact + (gate - gate.detach()) * (target - pre)


def _names(program: Program) -> tuple[str, ...]:
    return tuple(str(c) for c in program.coefficient_symbols)


def _after(program: Program) -> tuple[sympy.Expr, ...]:
    drive = program.drive if program.drive is not None else symbol(program.states[0])
    return (drive, program.output, *program.reset)
