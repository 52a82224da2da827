"""The module around a cell's equations: parameters, state, and the engine that runs them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import sympy
import torch
from torch import Tensor, nn

from neuro.errors import InputError, unknown_name
from neuro.kernels.compiler.equations import PERIOD, Equations
from neuro.kernels.compiler.reference import torch_function
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.scans.scan import ScanSpec, scan, scan_trace
from neuro.layer import Population, State

__all__ = ["Cell"]

_ATTRIBUTES = frozenset({"size", "dt", "method", "reset", "surrogate", "learn", "shared", "refractory", "training"})


class Cell(Population):
    """A population of neurons that share one set of equations.

    A neuron of one's own is a subclass with ``equations``; everything else comes with it. Its parameters
    are attributes, so their names may not be those that every cell has (``size``, ``step``, ``value``, ...).
    State is explicit: nothing is remembered between calls.

    Args:
        size: number of neurons, or their shape (``(C, H, W)`` after a convolution).
        dt: time step in seconds.
        method: discretisation, ``"euler"`` or ``"exponential"``.
        reset: name of a reset that the equations declare, or ``"none"``.
        surrogate: derivative that stands in for that of the spike.
        learn: names of the parameters that train, one value per neuron each.
        shared: names of the parameters that have one value for the whole population.
        refractory: seconds after a spike, rounded to whole steps, for which the membrane is
            held and cannot spike; a number or a tensor of shape ``size``. Adds a state that
            counts the steps left. None: no refractory period.
        **parameters: values of the declared parameters, SI units; a number, or a tensor
            of shape ``size``.

    Raises:
        InputError: unknown names, values not finite or out of range, wrong shapes.

    >>> import neuro
    >>> cell = neuro.LIF(3, tau=10e-3)
    >>> z, state = cell(torch.full((5, 1, 3), 20.0))
    >>> z.shape, [s.shape for s in state]
    (torch.Size([5, 1, 3]), [torch.Size([1, 3])])
    """

    equations: ClassVar[Equations]
    learn_default: ClassVar[tuple[str, ...]] = ()
    shared_default: ClassVar[tuple[str, ...]] = ()
    surrogate_default: ClassVar[Surrogate] = Surrogate()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "equations" in cls.__dict__:
            taken = next((name for name in cls.equations.parameters if name in _ATTRIBUTES or hasattr(cls, name)), None)
            if taken:
                raise InputError(
                    f"{cls.__name__} parameter {taken!r} is the name of an attribute of every cell; rename it"
                )
            cls.__signature__ = _signature(cls)  # type: ignore[attr-defined]

    def __init__(
        self,
        size: int | Sequence[int],
        *,
        dt: float = 1e-3,
        method: str = "euler",
        reset: str | None = None,
        surrogate: Surrogate | str | None = None,
        learn: Sequence[str] | None = None,
        shared: Sequence[str] | None = None,
        refractory: float | Tensor | None = None,
        **parameters: float | Tensor,
    ) -> None:
        super().__init__()
        sizes: tuple[Any, ...] = tuple(size) if isinstance(size, tuple | list) else (size,)
        self.size = sizes
        if not self.size or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in self.size):
            raise InputError(f"{self._name} size must be positive integers, got {size}")
        if isinstance(dt, bool) or not (isinstance(dt, int | float) and math.isfinite(dt) and dt > 0):
            raise InputError(f"{self._name} dt must be a positive number of seconds, got {dt}")
        self.dt = float(dt)
        self.method = method
        self.reset = self.equations.reset_kinds[0] if reset is None else reset
        self.surrogate = Surrogate(surrogate) if isinstance(surrogate, str) else surrogate or self.surrogate_default
        if not isinstance(self.surrogate, Surrogate):
            raise InputError(f"{self._name} surrogate must be a name or a neuro.Surrogate, got {surrogate!r}")
        for option, names in (("learn", learn), ("shared", shared)):
            if isinstance(names, str):
                raise InputError(f"{self._name} {option} must be a tuple of names, got {names!r}; write ({names!r},)")
        self.learn = tuple(self.learn_default if learn is None else learn)
        self.shared = tuple(self.shared_default if shared is None else shared)
        held = refractory is not None
        self._spec = ScanSpec(self.equations, method, self.reset, self.surrogate, frozenset(self.learn), held)
        for name in (*parameters, *self.learn, *self.shared):
            if name not in self.equations.parameters:
                raise unknown_name(f"{self._name} parameter", name, self.equations.parameters)
        for name, declared in self.equations.parameters.items():
            self._register(name, parameters.get(name, declared.default))
        self.refractory: Tensor | None
        self.register_buffer("refractory", None if refractory is None else self._checked_refractory(refractory))
        self._prepare()

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _prepare(self) -> None:
        """Compile the declaration; made from it again, never stored."""
        self._text = self._spec.to_text()
        program = self._spec.program
        arguments = ("dt", *self.equations.parameters, *((PERIOD,) if self._spec.refractory else ()))
        begins = tuple(self.equations.start.get(s, sympy.Integer(0)) for s in program.states)
        self._states = program.states
        self._start: Callable[..., tuple[Any, ...]] = torch_function(begins, tuple(self.equations.parameters))
        self._coefficients: Callable[..., tuple[Any, ...]] = torch_function(program.coefficients, arguments)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_coefficients", "_start")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._prepare()

    def _register(self, name: str, value: float | Tensor) -> None:
        declared = self.equations.parameters[name]
        tensor = self._tensor(name, value)
        bad = ~torch.isfinite(tensor)
        if declared.positive:
            bad |= tensor <= 0
        if bool(bad.any()):
            allowed = "positive and finite" if declared.positive else "finite"
            raise InputError(f"{self._name} {name} must be {allowed} [{declared.unit}], got {tensor[bad][0].item():g}")
        if name not in self.learn:
            self.register_buffer(name, tensor)
        elif declared.positive:
            self.register_parameter(f"log_{name}", nn.Parameter(self._spread(name, tensor).log()))
        else:
            self.register_parameter(name, nn.Parameter(self._spread(name, tensor).clone()))

    def _tensor(self, name: str, value: float | Tensor) -> Tensor:
        if isinstance(value, bool) or not isinstance(value, Tensor | int | float | Sequence | np.ndarray | np.number):
            raise InputError(f"{self._name} {name} must be a number or a tensor, got {value!r}")
        try:
            tensor = torch.as_tensor(value, dtype=torch.get_default_dtype() if not isinstance(value, Tensor) else None)
        except (TypeError, ValueError) as error:
            raise InputError(f"{self._name} {name} must be a number or a tensor, got {value!r} ({error})") from None
        if not tensor.is_floating_point():
            raise InputError(
                f"{self._name} {name} must be floating, got a tensor of {tensor.dtype}; convert with .float()"
            )
        if tensor.dim() and tuple(tensor.shape) != self.size:
            raise InputError(
                f"{self._name} {name} must be one number or of shape {self.size}, got shape {tuple(tensor.shape)}"
            )
        if tensor.dim() and name in self.shared:
            first = tensor.flatten()[0]
            if bool((tensor != first).any()):
                raise InputError(f"{self._name} {name} is shared, so it is one number, got {tensor.unique().numel()}")
            tensor = first
        return tensor.detach().clone()

    def _spread(self, name: str, tensor: Tensor) -> Tensor:
        return tensor if name in self.shared else tensor.expand(self.size)

    def _checked_refractory(self, value: float | Tensor) -> Tensor:
        tensor = self._tensor("refractory", value)
        bad = ~torch.isfinite(tensor) | (tensor < 0) | ((tensor > 0) & (tensor < self.dt / 2))
        if bool(bad.any()):
            raise InputError(
                f"{self._name} refractory must be 0 or at least half a step of {self.dt:g} s, "
                f"got {tensor[bad][0].item():g}"
            )
        return tensor

    def value(self, name: str) -> Tensor:
        """The parameter ``name`` in SI units, 0-d or of shape ``size``; differentiable where it trains."""
        if name in self.learn and self.equations.parameters[name].positive:
            logarithm: Tensor = getattr(self, f"log_{name}")  # a plain tensor under torch.func.functional_call
            return torch.exp(logarithm)
        stored: Tensor = getattr(self, name)
        return stored

    def parameters_si(self) -> dict[str, Tensor]:
        """Every declared parameter in SI units, each of shape ``size``, detached."""
        return {n: self.value(n).detach().expand(self.size).clone() for n in self.equations.parameters}

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """One ``[batch, *size]`` tensor per state variable: zero, or where the equations start it (detached)."""
        shape = (batch, *self.size)
        begins = self._start(*(self.value(n).detach() for n in self.equations.parameters))
        return tuple(torch.zeros(shape, device=device, dtype=dtype) + begin for begin in begins)

    def forward(
        self, x: Tensor, state: State | None = None, *, route: Route | None = None, backend: str = "auto"
    ) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: input current ``[T, B, *size]``. Values are not looked at: a NaN stays in the state of its neuron,
                which compares false with every threshold and so never spikes again; look for it in the
                state returned.
            state: as returned for the steps before; zero unless given.
            route: edges that backward ignores (a property of the learning rule).
            backend: as for :func:`neuro.kernels.scans.scan`.

        Returns:
            Output ``[T, B, *size]`` and the state after the last step.

        Raises:
            InputError: shape, dtype or device that does not fit.
        """
        flat, before = self._flatten(x, state)
        inputs, values = self._inputs(flat, before), self._values(flat.shape[2])
        output, after = scan(self._spec, inputs, before, values, route=route, backend=backend, text=self._text)
        return output.view(x.shape), tuple(s.view(x.shape[1:]) for s in after)

    @torch.no_grad()
    def trace(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Like ``forward`` without gradients, also returning each state before its reset, ``[T, B, *size]``."""
        flat, before = self._flatten(x, state)
        output, after, states = scan_trace(self._spec, self._inputs(flat, before), before, self._values(flat.shape[2]))
        traced = {name: s.view(x.shape) for name, s in states.items()}
        return output.view(x.shape), tuple(s.view(x.shape[1:]) for s in after), traced

    def _inputs(self, flat: Tensor, before: Sequence[Tensor]) -> list[Tensor]:
        """What the equations call their inputs, each ``[T, B, N]``: the current, unless a cell adds to it."""
        return [flat]

    def _values(self, neurons: int) -> list[Tensor]:
        named = [self.value(n) for n in self.equations.parameters]
        named += [self.refractory] if self.refractory is not None else []
        # A shared parameter stays 0-d and broadcasts; a per-neuron one is laid out as [N].
        flat = [v.reshape(neurons) if v.dim() else v for v in named]
        like = flat[0]
        made = self._coefficients(self.dt, *flat)
        return [c if isinstance(c, Tensor) else like.new_tensor(c) for c in made]

    def _flatten(self, x: Tensor, state: State | None) -> tuple[Tensor, list[Tensor]]:
        if not isinstance(x, Tensor) or x.layout != torch.strided:
            seen = f"a tensor of layout {x.layout}; use .to_dense()" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"{self._name} takes a tensor [T, B, ...], got {seen}")
        if x.dim() != 2 + len(self.size) or tuple(x.shape[2:]) != self.size:
            raise InputError(
                f"{self._name} takes [T, B, {', '.join(map(str, self.size))}] (time first), got {tuple(x.shape)}"
            )
        if state is None:
            state = self.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
        if len(state) != len(self._states) or any(s.shape != x.shape[1:] for s in state):
            raise InputError(
                f"{self._name} state must be {len(self._states)} tensors of shape {tuple(x.shape[1:])}, "
                f"got {[tuple(s.shape) for s in state]}"
            )
        return x.flatten(2), [s.flatten(1) for s in state]

    def definition(self) -> dict[str, Any]:
        """What rebuilds this cell but for its values, JSON-able."""
        return {
            "size": list(self.size),
            "dt": self.dt,
            "method": self.method,
            "reset": self.reset,
            "surrogate": {
                "family": self.surrogate.family,
                "width": self.surrogate.width,
                "peak": self.surrogate.peak,
            },
            "learn": list(self.learn),
            "shared": list(self.shared),
            "refractory": None if self.refractory is None else self.refractory.tolist(),
            "per_neuron": [n for n in self.equations.parameters if n not in self.learn and self.value(n).dim()],
        }

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> Self:
        """The cell that :meth:`definition` describes, with the declared default values."""
        size = tuple(definition["size"])
        vectors: dict[str, Any] = {
            n: torch.full(size, cls.equations.parameters[n].default) for n in definition["per_neuron"]
        }
        options: dict[str, Any] = {k: definition[k] for k in ("dt", "method", "reset", "learn")}
        options["shared"] = definition.get("shared", ())
        if (held := definition.get("refractory")) is not None:
            options["refractory"] = torch.tensor(held)
        return cls(size, surrogate=Surrogate(**definition["surrogate"]), **options, **vectors)

    def extra_repr(self) -> str:
        """Size, step, discretisation, reset and what trains."""
        parts = [
            ", ".join(map(str, self.size)) if len(self.size) == 1 else str(self.size),
            f"dt={self.dt:g}",
            f"method={self.method!r}",
        ]
        parts += [f"reset={self.reset!r}", f"learn={self.learn}"]
        parts += [f"shared={self.shared}"] if self.shared else []
        parts += [f"refractory={self.refractory.tolist()}"] if self.refractory is not None else []
        return ", ".join(parts)


def _signature(cls: type[Cell]) -> inspect.Signature:
    """The call signature with the declared parameters and their defaults spelled out, for ``help``."""
    shown = list(inspect.signature(Cell.__init__).parameters.values())[1:-1]
    keyword = inspect.Parameter.KEYWORD_ONLY
    declared = [inspect.Parameter(n, keyword, default=p.default) for n, p in cls.equations.parameters.items()]
    return inspect.Signature([*shown, *declared])
