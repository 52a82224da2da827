"""Rules that go forward in time: traces instead of a stored past.

The sequence runs in stretches; what is carried from one to the next does not grow with T. Where an error waits for later
steps, by the loss or by the memory of the readout, the output is computed first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from neuro.errors import InputError, unknown_name
from neuro.kernels.scans.eligibility import Traces, eligibility
from neuro.network import leaves
from neuro.neurons.elstm import ELSTM
from neuro.neurons.recurrent import Recurrent
from neuro.synapses import Linear
from neuro.training.rules.base import About, RuleResult
from neuro.training.rules.local.chain import Block, add_grad, chain, outer
from neuro.training.rules.local.sweep import stretches
from neuro.training.rules.online import OnlineRule, Reading
from neuro.training.rules.readout import Readout

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["FEEDBACK", "RTRL", "EProp", "EPropAdaptive", "EPropRandom"]

FEEDBACK = ("symmetric", "random", "adaptive")


@dataclass(frozen=True)
class _Forward(OnlineRule):
    """Rules that carry a sensitivity for every synapse of dense layers.

    The error goes back through the memory of the readout's few neurons: so any loss and any readout can be used, and a
    leaky readout is as exact as eligibility traces low-pass filtered by it.
    """

    def updates(
        self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Iterator[RuleResult]:
        """As in :meth:`OnlineRule.updates`, ``x`` is ``[T, B, ...]``, ``y`` ``[B]``; the readout may have no memory."""
        readout = chain(net, type(self).__name__)[-1]
        if self.every is not None and readout.neurons is not None:
            raise InputError(
                f"{type(self).__name__} with every={self.every} learns within the sequence, but the neurons of the last layer "
                f"{readout.name!r} remember, so that errors of later steps go back to it; end the network in Linear, or use "
                "rules.OTTT(every=...)"
            )
        return super().updates(net, x, y, loss)

    def stretches(self, net: Network, x: Tensor, read: Reading, chunk: int) -> Iterator[RuleResult]:
        """As in :meth:`OnlineRule.stretches`; ``x`` is ``[T, B, ...]``."""
        blocks = chain(net, type(self).__name__)
        for block in blocks:
            self._check(block)
        hidden, last = [_Carried(b) for b in blocks[:-1]], blocks[-1]
        readout, ways = Readout(last, read, len(x)), self._ways_back(blocks)
        if readout.waits(chunk):
            readout.read_all(last.drive(part) for part in stretches(blocks[:-1], x, chunk))
        for start, part in zip(range(0, len(x), chunk), x.split(chunk), strict=True):
            inputs = [part]
            for layer in hidden:
                inputs.append(layer.run(inputs[-1]))
            error = readout.told(last.drive(inputs[-1]).detach(), start)
            self._learn_way_back(ways, inputs[-1], error)
            signals = self._signals(blocks, hidden, ways, error)
            with torch.no_grad():
                _spread(outer(error, _columns(inputs[-1], last)), last)
                for layer, given, signal in zip(hidden, inputs[:-1], signals, strict=True):
                    layer.learn(given, signal)
            yield read.result

    def _ways_back(self, blocks: tuple[Block, ...]) -> list[Tensor] | None:
        """Weights ``[C, N]`` by which the error reaches each hidden block; None for the network's own."""
        return None

    def _learn_way_back(self, ways: list[Tensor] | None, post: Tensor, error: Tensor) -> None:
        """What the ways back learn of these steps."""

    def _signals(
        self, blocks: tuple[Block, ...], hidden: list[_Carried], ways: list[Tensor] | None, error: Tensor
    ) -> list[Tensor]:
        """``dL/d(output) [t, B, N]`` of each hidden block, each step by itself."""
        if ways is not None:
            return [error @ way.detach() for way in ways]
        signals, above = [], _weight(blocks[-1])
        for layer in reversed(hidden):
            signals.append(error @ above)
            error, above = layer.current_error(signals[-1]), _weight(layer.block)
        return signals[::-1]

    def _check(self, block: Block) -> None:
        if len(block.synapses) != 1 or type(block.synapses[0]) is not Linear:
            kinds = ", ".join(type(s).__name__ for s in block.synapses)
            raise InputError(
                f"{type(self).__name__} carries a sensitivity for every synapse, which is done for Linear layers; what drives "
                f"layer {block.name!r} is {kinds or 'nothing'}; use rule='ottt', whose traces also serve convolutions"
            )


@dataclass(frozen=True)
class RTRL(_Forward):
    """Real-time recurrent learning of element-wise cells: sensitivities of every state to every weight, forward in time.

    Within a layer the gradient is that of BPTT; between layers an error goes down within its step.

    Args:
        chunk: steps run at once; changes memory, not results.

    Raises:
        InputError: recurrent synapses, whose sensitivities would be N times as many; synapses that are not dense.
    """

    about: ClassVar[About] = About(
        paper="Williams & Zipser 1989, A learning algorithm for continually running fully recurrent neural networks; "
        "Irie et al. 2024, Exploring the promise and limits of real-time recurrent learning",
        memory="flat in T: a few numbers for each synapse and sample (for each input and sample where neurons share their constants)",
        time="a few operations for each synapse, sample and step",
        needs="a chain of Linear layers and cells without recurrent synapses, or of Linear and ELSTM layers; any loss",
        exact="for one hidden layer, whatever the readout",
    )

    def updates(
        self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Iterator[RuleResult]:
        """As in :meth:`OnlineRule.updates`, ``x`` is ``[T, B, ...]``, ``y`` ``[B]``; the readout may have no memory."""
        return OnlineRule.updates(self, net, x, y, loss) if _is_gated(net) else super().updates(net, x, y, loss)

    def stretches(self, net: Network, x: Tensor, read: Reading, chunk: int) -> Iterator[RuleResult]:
        """As in :meth:`OnlineRule.stretches`, ``x`` is ``[T, B, ...]``; an :class:`neuro.ELSTM` carries sensitivities of its own."""
        return _by_layers(net, x, read, chunk) if _is_gated(net) else super().stretches(net, x, read, chunk)

    def _check(self, block: Block) -> None:
        if isinstance(block.neurons, Recurrent):
            raise InputError(
                f"RTRL is for neurons that act on themselves only, but those of layer {block.name!r} are coupled by recurrent "
                "synapses; use rule='eprop', which takes the spikes that pass through them as given, or rule='bptt'"
            )
        super()._check(block)


@dataclass(frozen=True)
class EProp(_Forward):
    """e-prop: eligibility traces of recurrent layers times a learning signal from the output of the same step.

    ``dL/dW = sum_t L[t] e[t]``, with e the sensitivity of a neuron to its own synapses, spikes of other neurons taken as
    given. (The paper filters e by a leaky readout; here L is filtered back through it, which gives the same sum.)

    Args:
        feedback: how the error of the output reaches hidden layers: by the output's own weights ("symmetric"), by fixed random
            weights ("random"), or by random weights that learn what the output's learn and decay as they do ("adaptive",
            which needs :meth:`prepare`, as training does it), so that what they differed by is forgotten. Below the
            uppermost hidden layer they stay as they were drawn.
        seed: of the random weights.
        chunk: steps run at once; changes memory, not results.

    Raises:
        InputError: unknown feedback; synapses that are not dense.
    """

    feedback: str = "symmetric"
    seed: int = 0
    weights: nn.ParameterDict | None = None

    mirrors: ClassVar[bool] = True
    about: ClassVar[About] = About(
        paper="Bellec et al. 2020, A solution to the learning dilemma for recurrent networks of spiking neurons",
        memory="flat in T: a few numbers for each synapse and sample (for each input and sample where neurons share their constants)",
        time="a few operations for each synapse, sample and step",
        needs="a chain of Linear layers and cells, recurrent or not; fixed feedback weights where asked for; any loss",
        exact="for one hidden layer, but for what recurrent spikes pass on; feedback symmetric",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.feedback not in FEEDBACK:
            raise unknown_name("feedback of EProp", self.feedback, FEEDBACK)

    @property
    def auxiliary(self) -> nn.Module | None:
        """The feedback weights, where they learn."""
        return self.weights

    def prepare(self, net: Network) -> EProp:
        """This rule with feedback weights that learn, for ``net``."""
        if self.feedback != "adaptive":
            return self
        blocks = chain(net, "EProp")
        made = {str(i): nn.Parameter(self._random(i, blocks)) for i in range(len(blocks) - 1)}
        return replace(self, weights=nn.ParameterDict(made))

    def _random(self, i: int, blocks: tuple[Block, ...]) -> Tensor:
        """Feedback ``[C, N]`` onto block ``i``, of the scale of the output's initial weights."""
        readout = blocks[-1].weighted[0]
        size = (readout.shape[0], blocks[i].weighted[0].shape[0])
        generator = torch.Generator().manual_seed(self.seed + i)
        drawn = torch.rand(size, generator=generator, dtype=torch.float64) * 2 - 1
        scaled: Tensor = (drawn / size[1] ** 0.5).to(readout)
        return scaled

    def _ways_back(self, blocks: tuple[Block, ...]) -> list[Tensor] | None:
        if self.feedback == "symmetric":
            return None
        if self.feedback == "random":
            return [self._random(i, blocks) for i in range(len(blocks) - 1)]
        if self.weights is None:
            raise InputError("EProp(feedback='adaptive') has weights of its own; call rule = rule.prepare(net) first")
        return [self.weights[str(i)] for i in range(len(blocks) - 1)]

    def _learn_way_back(self, ways: list[Tensor] | None, post: Tensor, error: Tensor) -> None:
        if self.feedback == "adaptive" and ways:
            add_grad(ways[-1], outer(error, post))  # what the output learns from these neurons


@dataclass(frozen=True)
class EPropRandom(EProp):
    """:class:`EProp` with fixed random feedback weights."""

    feedback: str = "random"

    about: ClassVar[About] = replace(
        EProp.about,
        needs="as eprop; feedback weights are a function of the seed",
        exact="the last layer; hidden layers as far as their weights come to agree with the feedback",
    )


@dataclass(frozen=True)
class EPropAdaptive(EProp):
    """:class:`EProp` with random feedback weights that change and decay as the output's weights do."""

    feedback: str = "adaptive"

    about: ClassVar[About] = replace(
        EProp.about,
        needs="as eprop; weights of its own that learn (prepare)",
        exact="as eprop, once weight decay has made the feedback forget how it was drawn",
    )


class _Carried:
    """One block and what it carries from stretch to stretch."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.before: Any = None  # state of the neurons for the forward pass
        self.state: list[Tensor] | None = None  # the same for the sensitivities
        self.last: Tensor | None = None
        self.traces: Traces | None = None
        self.drive = self.output = torch.empty(0)

    def run(self, x: Tensor) -> Tensor:
        """Forward ``[t, B, I]`` to ``[t, B, N]``, keeping the graph of each step by itself."""
        with torch.no_grad():
            drive = self.block.drive(x)
        self.drive = drive.to(_weight(self.block).dtype)  # a product under torch.autocast is in half precision
        self.drive.requires_grad_()
        with torch.enable_grad():
            self.output, self.before = self.block.respond(self.drive, self.before)
        return self.output.detach()

    def current_error(self, signal: Tensor) -> Tensor:
        """``dL/d(drive)`` of a step by itself, from ``dL/d(output)``."""
        made: Tensor = torch.autograd.grad(self.output, self.drive, signal, retain_graph=True)[0]
        return made

    def learn(self, x: Tensor, signal: Tensor) -> None:
        """Add to ``.grad`` what this stretch is worth."""
        cell, drive = self.block.cell, self.drive.detach()
        columns, signal = _columns(x, self.block).to(drive), signal.to(drive)
        assert cell is not None  # blocks without neurons come last only
        if self.block.recurrent is not None:
            output = self.output.detach()
            before = torch.cat([torch.zeros_like(output[:1]) if self.last is None else self.last, output[:-1]])
            self.last, columns = output[-1:], torch.cat([columns, before], 2)
            drive = drive + before @ self.block.recurrent.t()
        state = self.state if self.state is not None else list(cell._flatten(drive, None)[1])
        with torch.enable_grad():
            values = cell._values(drive.shape[2])
        fixed = [v.detach() for v in values]
        found = eligibility(cell._spec, drive, columns, signal, state, fixed, self.traces)
        self.state, self.traces = found.state, found.traces
        _spread(found.weight_grad, self.block)
        held = [(values[k], g) for k, g in zip(cell._spec.learned_coefficients, found.coefficient_grad, strict=True)]
        into = [(v, g.sum() if v.dim() == 0 else g) for v, g in held if v.requires_grad]
        if into:
            torch.autograd.backward([v for v, _ in into], [g for _, g in into])


def _weight(block: Block) -> Tensor:
    weight: Tensor = block.synapses[0].weight.detach()  # type: ignore[operator]
    return weight


def _columns(x: Tensor, block: Block) -> Tensor:
    """The inputs ``[t, B, I]``, and the one that a bias is a weight of."""
    bias = block.synapses[0].bias
    return x if bias is None else torch.cat([x, x.new_ones((*x.shape[:2], 1))], 2)


def _spread(grad: Tensor, block: Block) -> None:
    """Columns of inputs, of the bias, and of the neurons themselves, to where they belong."""
    synapse: Any = block.synapses[0]
    inputs = synapse.weight.shape[1]
    parts = [(synapse.weight, grad[:, :inputs])]
    if synapse.bias is not None:
        parts.append((synapse.bias, grad[:, inputs]))
    if block.recurrent is not None and grad.shape[1] > inputs + (synapse.bias is not None):
        parts.append((block.recurrent, grad[:, -block.recurrent.shape[1] :]))
    for parameter, part in parts:
        if parameter.requires_grad:
            add_grad(parameter, part.contiguous())


def _is_gated(net: Network) -> bool:
    return any(isinstance(layer, ELSTM) for _, layer in leaves(net))


def _by_layers(net: Network, x: Tensor, read: Reading, chunk: int) -> Iterator[RuleResult]:
    """RTRL of a sequence of eLSTM and Linear layers."""
    layers = list(leaves(net))
    if other := [(n, type(m).__name__) for n, m in layers if type(m) not in (ELSTM, Linear)]:
        raise InputError(
            f"RTRL takes an ELSTM together with ELSTM and Linear layers only, not layer {other[0][0]!r} ({other[0][1]}); "
            "use rule='bptt'"
        )
    if read.waits(chunk):
        read.read_all(_forward(layers, x, chunk))
    states: dict[str, Any] = dict.fromkeys(n for n, _ in layers)
    traces: dict[str, Any] = dict(states)
    for start, part in zip(range(0, len(x), chunk), x.split(chunk), strict=True):
        inputs = [part]
        with torch.no_grad():
            for name, layer in layers:
                inputs.append(_through(layer, inputs[-1], states[name])[0])
        signal = read.told(inputs[-1], start)
        for (name, layer), given in zip(reversed(layers), reversed(inputs[:-1]), strict=True):
            if isinstance(layer, ELSTM):
                made = layer.rtrl(given, signal, states[name], traces[name])
                states[name], traces[name], signal = made.state, made.traces, made.input_gradient
                found = [(layer.get_parameter(n), g) for n, g in made.gradients.items()]
            else:
                leaf, learned = given.detach().requires_grad_(), [p for p in layer.parameters() if p.requires_grad]
                with torch.enable_grad():
                    signal, *grads = torch.autograd.grad(layer(leaf), [leaf, *learned], signal)
                found = list(zip(learned, grads, strict=True))
            for parameter, grad in found:
                if parameter.requires_grad:
                    add_grad(parameter, grad)
        yield read.result


def _forward(layers: list[tuple[str, nn.Module]], x: Tensor, chunk: int) -> Iterator[Tensor]:
    """The output, in stretches ``[t, B, C]``."""
    states: dict[str, Any] = dict.fromkeys(n for n, _ in layers)
    for part in x.split(chunk):
        for name, layer in layers:
            part, states[name] = _through(layer, part, states[name])
        yield part


def _through(layer: nn.Module, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    made: tuple[Tensor, Any] = layer(x, state) if isinstance(layer, ELSTM) else (layer(x), None)
    return made
