"""Other libraries' reading of a NIR file, run step by step with every spiking layer recorded.

Each judge is optional: it is imported when it is asked, and what it prints, warns and logs
is kept away from the terminal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType

import nir
import numpy as np
import torch
from torch import Tensor, nn

from neuro.hardware.nir_chain import chain

__all__ = ["JUDGES", "Judge", "JudgeError", "Reading"]


class JudgeError(Exception):
    """Another library refuses the file or fails on it; the text says how, in its words."""


@dataclasses.dataclass(frozen=True)
class Judge:
    """Another library that reads NIR.

    Attributes:
        package: name of its distribution.
        install: command that installs it without harm.
        load: function of (graph, dt in seconds) that makes its module of one time step,
            ``(x [B, ...], state) -> (output, state)``.
        expressible_r: function of (LIF or IF node, dt in seconds) -> the resistances nearest to
            the node's that the library runs as they are.
        own_dt: the time step in seconds that it assumes whatever is asked; None if it takes ours.
    """

    package: str
    install: str
    load: Callable[[nir.NIRGraph, float], nn.Module]
    expressible_r: Callable[[nir.NIRNode, float], np.ndarray]
    own_dt: float | None = None

    @property
    def version(self) -> str | None:
        """Version installed, or None."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None


def _load_norse(graph: nir.NIRGraph, dt: float) -> nn.Module:
    from norse.torch import from_nir

    module: nn.Module = from_nir(graph, ignore_warnings=True, dt=dt)
    return module


def _load_snntorch(graph: nir.NIRGraph, dt: float) -> nn.Module:
    from snntorch._neurons.neurons import SpikingNeuron
    from snntorch.import_nir import import_from_nir

    before = len(SpikingNeuron.instances)
    try:
        module: nn.Module = import_from_nir(graph)
    finally:
        # The class keeps every neuron ever made alive; those made here are let go.
        del SpikingNeuron.instances[before:]
    return module


def _one_or_whole(node: nir.NIRNode, dt: float) -> np.ndarray:
    """Norse: ``r`` is not looked at; a LIF runs with 1, an IF adds its input whole."""
    return np.full(node.r.shape, 1.0 if isinstance(node, nir.LIF) else 1 / dt)


def _one_gain(node: nir.NIRNode, dt: float) -> np.ndarray:
    """snnTorch: one gain ``r dt / tau`` for all neurons goes into its one threshold."""
    if isinstance(node, nir.IF):
        return np.asarray(node.r)
    gain = np.asarray(node.r, np.float64) / node.tau
    return np.asarray(node.r) if np.all(gain == gain.min()) else gain.min() * np.asarray(node.tau, np.float64)


JUDGES: Mapping[str, Judge] = MappingProxyType(
    {
        "norse": Judge(
            "norse", "pip install --no-deps norse==1.1.0 && pip install nirtorch", _load_norse, _one_or_whole
        ),
        "snntorch": Judge("snntorch", "pip install snntorch==1.0.0 nirtorch", _load_snntorch, _one_gain, own_dt=1e-4),
    }
)
"""The libraries that can be asked, by name."""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep prints, warnings and log lines of other libraries away."""
    disabled = logging.root.manager.disable
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(disabled)


class Reading:
    """A NIR file as one judge reads it.

    Args:
        judge: the library.
        path: the file.
        dt: time step in seconds that the judge is asked to take.
        scale: factor on every time constant. The equations depend on ``dt / tau`` alone, so
            that with ``scale = own_dt / dt`` a judge of another time step runs the same network.
        fold: whether ``r`` of a LIF or IF is made one that the judge can run, and the dense
            weights before it take the rest, which is the same network up to rounding.
    """

    def __init__(self, judge: Judge, path: str | Path, *, dt: float, scale: float = 1.0, fold: bool = False) -> None:
        self.judge = judge
        self.dt = dt
        self.folded = False
        graph = nir.read(path, type_check=False)
        self.names = [n for n in chain(list(graph.nodes), graph.edges) if _is_layer(graph.nodes[n])]
        self._nodes = {n: _scaled(graph.nodes[n], scale) for n in self.names}
        if fold:
            self._fold()
        self._input = next(n for n in graph.nodes.values() if isinstance(n, nir.Input))

    def run(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Output of each of ``layers`` over the sequence ``x [T, B, ...]``: ``[T, B, *size]``.

        The graph is cut after the last of them.

        Raises:
            JudgeError: the library refuses a node, leaves a layer out or fails while it runs.
        """
        used = self.names[: self.names.index(layers[-1]) + 1]
        with _quiet(), torch.no_grad():
            try:
                return self._run(self.judge.load(self._graph(used), self.dt), x, layers)
            except JudgeError:
                raise
            except Exception as error:  # whatever another library raises is its answer
                text = " ".join(str(error).split()) or "no message"
                raise JudgeError(f"{type(error).__name__}: {text}") from error

    def _fold(self) -> None:
        for before, name in itertools.pairwise(self.names):
            dense, cell = self._nodes[before], self._nodes[name]
            if not isinstance(dense, nir.Affine | nir.Linear) or not isinstance(cell, nir.LIF | nir.IF):
                continue
            r = self.judge.expressible_r(cell, self.dt)
            rest = np.asarray(cell.r, np.float64) / r
            if np.any(rest != 1):
                self._nodes[before] = _rows_times(dense, rest)
                self._nodes[name] = dataclasses.replace(cell, r=r)
                self.folded = True

    def _graph(self, names: Sequence[str]) -> nir.NIRGraph:
        """The first nodes as a graph, under names that every library can use for modules."""
        order = ["input", *map(self._alias, names), "output"]
        nodes = [self._input, *(self._nodes[n] for n in names), nir.Output(output_type={"output": np.array([1])})]
        edges = list(itertools.pairwise(order))
        return nir.NIRGraph(dict(zip(order, nodes, strict=True)), edges, type_check=False)

    def _alias(self, name: str) -> str:
        return f"layer{self.names.index(name)}"

    def _run(self, module: nn.Module, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        modules = dict(module.named_modules())
        seen: dict[str, list[Tensor]] = {name: [] for name in layers}
        for name in layers:
            if self._alias(name) not in modules:
                kind = type(self._nodes[name]).__name__
                raise JudgeError(f"has no module for a {kind} node and passes its input on unchanged")
            modules[self._alias(name)].register_forward_hook(_recorder(seen[name]))
        state = None
        for step in x.to(torch.float32):
            _, state = module(step, state)
        return {name: torch.stack(steps) for name, steps in seen.items()}


def _recorder(into: list[Tensor]) -> Callable[[nn.Module, tuple[object, ...], object], None]:
    def hook(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        z = output[0] if isinstance(output, tuple) else output
        if not isinstance(z, Tensor):
            raise JudgeError(f"its layer gives a {type(z).__name__}, not a tensor")
        into.append(z.detach().clone())

    return hook


def _is_layer(node: nir.NIRNode) -> bool:
    return not isinstance(node, nir.Input | nir.Output)


def _rows_times(dense: nir.NIRNode, factors: np.ndarray) -> nir.NIRNode:
    weight = dense.weight * factors[:, None]
    bias = {"bias": dense.bias * factors} if isinstance(dense, nir.Affine) else {}
    return dataclasses.replace(dense, weight=weight, **bias)


def _scaled(node: nir.NIRNode, scale: float) -> nir.NIRNode:
    taus = [name for name in ("tau", "tau_mem", "tau_syn") if hasattr(node, name)]
    if scale == 1.0 or not taus:
        return node
    return dataclasses.replace(node, **{name: np.float64(scale) * getattr(node, name) for name in taus})
