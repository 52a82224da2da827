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
from neuro.hardware.preparation import fold, keep_batch, scale_time

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
        dt: time step of the network in seconds.
        prepared: whether what the judge cannot run as it stands is said otherwise first (see
            :mod:`neuro.hardware.preparation`).

    Attributes:
        dt: time step in seconds that the judge is asked to take.
        changes: what the preparation changed, in words.

    Raises:
        JudgeError: the nir library, which all judges read files with, refuses this one.
    """

    def __init__(self, judge: Judge, path: str | Path, *, dt: float, prepared: bool = False) -> None:
        self.judge = judge
        self.dt = dt
        graph = _graph_of(path)
        self._input = next(n for n in graph.nodes.values() if isinstance(n, nir.Input))
        order = chain(list(graph.nodes), graph.edges)
        self._nodes = {n: graph.nodes[n] for n in order if not isinstance(graph.nodes[n], nir.Input | nir.Output)}
        self._names = list(self._nodes)
        self.changes = self._prepare() if prepared else ()

    def _prepare(self) -> tuple[str, ...]:
        changes = []
        if any(isinstance(node, nir.Flatten) for node in self._nodes.values()):
            self._nodes = keep_batch(self._nodes)
            changes.append("Flatten counts the axis of the batch")
        if self.judge.own_dt is not None and self.judge.own_dt != self.dt:
            factor = self.judge.own_dt / self.dt
            self._nodes, self.dt = scale_time(self._nodes, factor), self.judge.own_dt
            changes.append(f"dt and tau times {factor:g}")
        folded = fold(self._nodes, lambda node: self.judge.expressible_r(node, self.dt))
        if any(folded[name] is not node for name, node in self._nodes.items()):
            self._nodes = folded
            changes.append("r in the weights")
        return tuple(changes)

    def run(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Output of each of ``layers`` over the sequence ``x [T, B, ...]``: ``[T, B, *size]``.

        The graph is cut after the last of them.

        Raises:
            JudgeError: the library refuses a node, leaves a layer out or fails while it runs.
        """
        used = self._names[: self._names.index(layers[-1]) + 1]
        with _quiet(), torch.no_grad():
            try:
                return self._run(self.judge.load(self._graph(used), self.dt), x, layers)
            except JudgeError:
                raise
            except Exception as error:  # whatever another library raises is its answer
                raise JudgeError(_in_its_words(error)) from error

    def _graph(self, names: Sequence[str]) -> nir.NIRGraph:
        """The first nodes as a graph, under names that every library can use for modules."""
        order = ["input", *map(self._alias, names), "output"]
        nodes = [self._input, *(self._nodes[n] for n in names), nir.Output(output_type={"output": np.array([1])})]
        edges = list(itertools.pairwise(order))
        return nir.NIRGraph(dict(zip(order, nodes, strict=True)), edges, type_check=False)

    def _alias(self, name: str) -> str:
        return f"layer{self._names.index(name)}"

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


def _graph_of(path: str | Path) -> nir.NIRGraph:
    try:
        return nir.read(path, type_check=False)
    except Exception as error:  # assertions, type errors, key errors: the library has no error of its own
        raise JudgeError(f"nir {nir.version}, {_in_its_words(error)}") from error


def _in_its_words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"


def _recorder(into: list[Tensor]) -> Callable[[nn.Module, tuple[object, ...], object], None]:
    def hook(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        z = output[0] if isinstance(output, tuple) else output
        if not isinstance(z, Tensor):
            raise JudgeError(f"its layer gives a {type(z).__name__}, not a tensor")
        into.append(z.detach().clone())

    return hook
