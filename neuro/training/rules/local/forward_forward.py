"""Forward-Forward: two passes forward instead of one forward and one back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuro.errors import InputError, unknown_name
from neuro.layer import StatefulLayer
from neuro.training.rules.base import About, Rule, RuleResult
from neuro.training.rules.local.chain import Block, chain, is_constant
from neuro.training.rules.local.projected import running_mean
from neuro.training.rules.local.sweep import Sweep, run
from neuro.training.rules.local.three_factor import Loss, check_whole, loss_and_error, width

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["ForwardForward", "Stage"]

_COLLABORATION = ("none", "previous", "all")


@dataclass(frozen=True, eq=False)
class Stage:
    """A layer that learns, and what its output passes through unlearned before the next one.

    Args:
        block: its output is what goodness is measured on.
        after: layers of any kind.
    """

    block: Block
    after: tuple[nn.Module, ...] = ()

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Tensor, Any]:
        """Activity that goodness is measured on, output for the next stage, state."""
        inner, outer = state or (None, (None,) * len(self.after))
        activity, inner = self.block.forward(x, inner)
        output, outer = self.pass_on(activity, outer)
        return activity, output, (inner, outer)

    def pass_on(self, x: Tensor, states: Sequence[Any]) -> tuple[Tensor, tuple[Any, ...]]:
        """Through what follows the layer that learns."""
        made = []
        for layer, before in zip(self.after, states, strict=True):
            state = None
            if isinstance(layer, StatefulLayer):
                x, state = layer(x, before)
            else:
                x = layer(x)
            made.append(state)
        return x, tuple(made)


@dataclass(frozen=True)
class ForwardForward(Rule):
    """Each layer tells samples with their right label in the input from samples with a wrong one.

    ``y`` is written over the first C inputs. With ``r`` a neuron's spikes averaged over the steps so far, a
    layer's goodness is ``G = sharpness mean_i r_i^2`` and its loss at every step that of telling by
    ``p = sigmoid(G - sharpness threshold)``, so ``M_i = (p - positive) 2 sharpness r_i / N``. The last
    layer reads out the others' answer to the input as it is, without a label, and learns from the loss: the network is
    used as any other. :meth:`predict` asks the goodness instead. Hinton, "The forward-forward algorithm: some
    preliminary investigations", 2022; layers get plain spikes, not normalised ones, so the network stays what it is.

    Args:
        threshold: mean square rate between wrong and right.
        sharpness: scale of the goodness.
        collaboration: what is added to a layer's goodness as a constant: nothing (``"none"``), the goodness of the
            layers before it (``"previous"``), or of all others (``"all"``, one more pass); the threshold is then
            that of all layers counted. Lorberbom et al., "Layer collaboration in the forward-forward algorithm", 2023.
        label: value of a label's input.
        chunk: steps run at once; changes memory, not results.

    Raises:
        InputError: an option out of range; later, a network without hidden layers or an input narrower than the labels.
    """

    about: ClassVar[About] = About(
        paper="Hinton 2022, The forward-forward algorithm: some preliminary investigations",
        memory="flat in T: states, traces and one chunk of steps",
        time="three forward passes (four with collaboration of all layers) and local products",
        needs="a chain of affine synapses and cells, labels, an input wide enough for them",
        exact="its own goodness, layer by layer, resets cut; the last layer",
    )

    threshold: float = 0.05
    sharpness: float = 100.0
    collaboration: str = "none"
    label: float = 1.0
    chunk: int = 32

    def __post_init__(self) -> None:
        check_whole("chunk", self.chunk, 1)
        if self.collaboration not in _COLLABORATION:
            raise unknown_name("collaboration", str(self.collaboration), _COLLABORATION)
        for name in ("threshold", "sharpness", "label"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}={getattr(self, name)!r} must be above 0")

    @torch.no_grad()
    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Loss) -> RuleResult:
        """As in :meth:`Rule.backward`; wrong labels are drawn from PyTorch's random numbers."""
        hidden, last = self.stages(net)
        classes = width(last)
        wrong = (y + torch.randint(1, classes, y.shape, device=y.device)) % classes
        both = self.embed(_twice(x), torch.cat([y, wrong]), classes)
        self._contrast(hidden, both, torch.arange(2 * len(y), device=y.device) < len(y))
        return self._read_out(hidden, last, x, y, loss)

    @torch.no_grad()
    def predict(self, net: Network, x: Tensor) -> Tensor:
        """The label ``[B]`` that all hidden layers together find best for ``x [T, B, ...]``, each tried in turn."""
        hidden, last = self.stages(net)
        labels = [torch.full((x.shape[1],), k, device=x.device) for k in range(width(last))]
        tried = [torch.stack(self._goodness(hidden, self.embed(x, y, len(labels)))).sum(0) for y in labels]
        return torch.stack(tried).argmax(0)

    def embed(self, x: Tensor, y: Tensor, classes: int) -> Tensor:
        """``x [T, B, ...]`` with its first ``classes`` inputs overwritten by the label."""
        if is_constant(x):
            return self.embed(x[:1], y, classes).expand(x.shape)
        made = x.flatten(2).clone()
        if made.shape[2] < classes:
            raise InputError(
                f"labels of {classes} classes do not fit into {made.shape[2]} inputs; widen the input or use DRTP()"
            )
        made[:, :, :classes] = self.label * functional.one_hot(y, classes).to(x)
        return made.view(x.shape)

    def stages(self, net: Network) -> tuple[tuple[Stage, ...], Block]:
        """Hidden layers and the readout.

        Raises:
            InputError: the network cannot be trained so; the message says what works.
        """
        *hidden, last = chain(net, type(self).__name__)
        return self._some([Stage(block) for block in hidden]), last

    def _some(self, hidden: Sequence[Stage]) -> tuple[Stage, ...]:
        if not hidden:
            raise InputError(
                f"{type(self).__name__} trains hidden layers, and this network has none; add one or use rule='sltt'"
            )
        return tuple(hidden)

    def _contrast(self, hidden: Sequence[Stage], x: Tensor, positive: Tensor) -> None:
        """Learn to tell positive from negative samples."""
        sweep = Sweep([stage.block for stage in hidden], type(self).__name__)
        pasts: list[Any] = [None] * len(hidden)
        outer: list[Any] = [(None,) * len(stage.after) for stage in hidden]
        whole = self._goodness(hidden, x) if self.collaboration == "all" else []
        share = 1 / (len(x) * x.shape[1])
        for part in x.split(self.chunk):
            earlier: list[Tensor] = []
            for i, stage in enumerate(hidden):
                others = [g for k, g in enumerate(whole) if k != i]
                others += earlier if self.collaboration == "previous" else []
                tell = partial(self._tell, pasts, i, others, earlier, positive, share)
                part, outer[i] = stage.pass_on(sweep.learn(i, part, tell), outer[i])

    def _tell(
        self,
        pasts: list[Any],
        i: int,
        others: Sequence[Tensor],
        earlier: list[Tensor],
        positive: Tensor,
        share: float,
        post: Tensor,
    ) -> Tensor:
        """The modulator of one layer."""
        rates, pasts[i] = running_mean(post, pasts[i])
        own = self._measure(rates)
        earlier.append(own)
        goodness = own + sum(others) - (1 + len(others)) * self.sharpness * self.threshold
        wrong = (torch.sigmoid(goodness) - positive.to(own)) * (2 * self.sharpness / post[0, 0].numel() * share)
        return (wrong.unsqueeze(2) * rates.flatten(2)).view_as(post)

    def _measure(self, rates: Tensor) -> Tensor:
        """Goodness ``[t, B]``."""
        return self.sharpness * rates.flatten(2).square().mean(2)

    def _goodness(self, hidden: Sequence[Stage], x: Tensor) -> list[Tensor]:
        """Goodness ``[B]`` of each layer over the whole sequence."""
        states: list[Any] = [None] * len(hidden)
        rates: list[Any] = [None] * len(hidden)
        made = [x.new_zeros(x.shape[1])] * len(hidden)
        for part in x.split(self.chunk):
            for i, stage in enumerate(hidden):
                activity, part, states[i] = stage.forward(part, states[i])
                mean, rates[i] = running_mean(activity, rates[i])
                made[i] = self._measure(mean[-1:])[0]
        return made

    def _read_out(self, hidden: Sequence[Stage], last: Block, x: Tensor, y: Tensor, loss: Loss) -> RuleResult:
        """Train the last block on what the hidden ones answer to the input as it is."""
        states: list[Any] = [None] * len(hidden)
        parts = []
        for part in x.split(self.chunk):
            for i, stage in enumerate(hidden):
                _, part, states[i] = stage.forward(part, states[i])
            parts.append(part)
        value, error = loss_and_error(run([last], torch.cat(parts), self.chunk), y, loss)
        sweep, outputs = Sweep([last], type(self).__name__), []
        for part, known in zip(parts, error.split(self.chunk), strict=True):
            outputs.append(sweep.learn(0, part, partial(_first, known)))
        return RuleResult(value, torch.cat(outputs))


def _twice(x: Tensor) -> Tensor:
    """``[T, 2 B, ...]``, still one piece of memory for all steps if ``x`` is."""
    if is_constant(x):
        return _twice(x[:1]).expand(len(x), -1, *x.shape[2:])
    return torch.cat([x, x], 1)


def _first(known: Tensor, _output: Tensor) -> Tensor:
    return known
