"""Networks that adapt to what they see when in use: no labels, a batch at a time, each predicted after adapting to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from neuro.encoding import mean_membrane
from neuro.errors import InputError, unknown_name
from neuro.network import Network
from neuro.network.base import NORMS
from neuro.plasticity import Activity, SoftHebb
from neuro.synapses import Conv2d, Linear

__all__ = ["NHL", "BatchStatistics", "Tent", "entropy"]


def entropy(logits: Tensor) -> Tensor:
    """Mean entropy of the softmax of ``logits [B, C]``, in nats, a scalar.

    >>> round(float(entropy(torch.zeros(3, 4))), 4) == round(math.log(4), 4)
    True
    """
    logs = torch.log_softmax(logits, 1)
    return -(logs.exp() * logs).sum(1).mean()


class BatchStatistics:
    """Normalisations take their statistics from the batch at hand instead of from training.

    Schneider et al., "Improving robustness against common corruptions by covariate shift adaptation" (NeurIPS 2020).

    Args:
        net: the network, which adapts in place; :meth:`reset` gives it back as it was.

    Raises:
        InputError: a network without normalisations, which has nothing to adapt.

    >>> import neuro
    >>> net = neuro.Sequential(neuro.Linear(3, 4), neuro.BatchNorm(4), neuro.LIF(4), neuro.Linear(4, 2), neuro.LI(2))
    >>> BatchStatistics(net)(torch.rand(5, 8, 3)).shape
    torch.Size([5, 8, 2])
    """

    def __init__(self, net: Network) -> None:
        self.net = net
        self._norms = [layer for layer in net.modules() if isinstance(layer, NORMS)]
        self._source = {name: value.detach().clone() for name, value in net.state_dict().items()}
        if not self._norms and type(self) is BatchStatistics:
            raise InputError("the network has no normalisation, so no statistics to adapt; use NHL")

    def __call__(self, x: Tensor) -> Tensor:
        """Adapt to a batch ``[T, B, ...]`` and give its output ``[T, B, C]``, without a graph."""
        with self._batch_statistics():
            self.adapt(x)
            with torch.no_grad():
                output: Tensor = self.net(x)[0]
        return output

    def adapt(self, x: Tensor) -> None:
        """Learn from a batch ``[T, B, ...]``."""

    def reset(self) -> None:
        """Back to the network as it was before any adaptation."""
        self.net.load_state_dict(self._source)

    @contextmanager
    def _batch_statistics(self) -> Iterator[None]:
        """Normalisations as in training, everything else as in use."""
        was = self.net.training
        self.net.eval()
        for layer in self._norms:
            layer.train()
        try:
            yield
        finally:
            self.net.train(was)


class Tent(BatchStatistics):
    """Beside the statistics, gains and shifts follow the gradient of the entropy of the network's own predictions.

    Wang et al., "Tent: fully test-time adaptation by entropy minimization" (ICLR 2021). In a network without
    normalisations, thresholds can take that part: ``modulated=["1.v_threshold"]``.

    Args:
        net: the network, which adapts in place.
        lr: rate of Adam.
        modulated: names of the parameters that follow the entropy; unless given, those of all normalisations.
        readout: output ``[T, B, C]`` to logits ``[B, C]``.

    Raises:
        InputError: no such parameter; none at all; a rate below 0.
    """

    def __init__(
        self,
        net: Network,
        *,
        lr: float = 1e-3,
        modulated: Collection[str] | None = None,
        readout: Callable[[Tensor], Tensor] = mean_membrane,
    ) -> None:
        super().__init__(net)
        if not 0 <= lr < math.inf:
            raise InputError(f"lr must be 0 or more, got {lr}")
        self.lr, self.readout = lr, readout
        named = dict(net.named_parameters())
        own = {id(p) for layer in self._norms for p in layer.parameters()}
        chosen = [name for name, p in named.items() if id(p) in own] if modulated is None else list(modulated)
        for name in chosen:
            if name not in named:
                raise unknown_name("parameter", name, named)
        if not chosen:
            raise InputError("nothing follows the entropy: no normalisation is there; name parameters with modulated=")
        self._modulated = [named[name] for name in chosen]
        self._optimizer = torch.optim.Adam(self._modulated, lr=lr)

    def adapt(self, x: Tensor) -> None:
        """One step down the entropy of this batch ``[T, B, ...]``."""
        if self.lr == 0:
            return
        with torch.enable_grad():
            value = entropy(self.readout(self.net(x)[0]))
            grads = torch.autograd.grad(value, self._modulated, allow_unused=True)
        for parameter, grad in zip(self._modulated, grads, strict=True):
            parameter.grad = grad
        self._optimizer.step()
        self._optimizer.zero_grad()

    def reset(self) -> None:
        """As in :meth:`BatchStatistics.reset`; what Adam remembers is forgotten too."""
        super().reset()
        self._optimizer = torch.optim.Adam(self._modulated, lr=self.lr)


class NHL(Tent):
    """Neuro-modulated Hebbian learning: the first synapses follow their input, gains and shifts the entropy.

    For each batch, in this order: the weights of one early layer by the soft-Hebbian rule
    ``dw_i = rate p_i (x - u_i w_i)``, ``p = softmax(beta u)``, its sign turned for all but the winner
    (:class:`neuro.plasticity.SoftHebb`); then one step down the entropy, as :class:`Tent`; then the prediction. Tang et al.,
    "Neuro-modulated Hebbian learning for fully test-time adaptation" (CVPR 2023).

    Our choices: x is the mean over time, in patches where the layer is a convolution, and scaled to length 1; lengths of weights are counted in those
    of the source network and kept, since there they carry the scale that training gave them; and weights go no farther from the source than ``drift``
    of its length, without which unlabelled learning has no bound.

    Args:
        net: the network, which adapts in place.
        hebbian: name of the layer, a ``Linear`` or ``Conv2d``.
        rate: of the Hebbian change.
        beta: how sharp its competition is.
        drift: largest ``|W - W_source| / |W_source|``.
        lr, modulated, readout: as for :class:`Tent`.

    Raises:
        InputError: as :class:`Tent`; no such layer, or one of another kind; options out of range.
    """

    def __init__(
        self,
        net: Network,
        *,
        hebbian: str = "0",
        rate: float = 1e-2,
        beta: float = 8.0,
        drift: float = 0.1,
        lr: float = 1e-3,
        modulated: Collection[str] | None = None,
        readout: Callable[[Tensor], Tensor] = mean_membrane,
    ) -> None:
        super().__init__(net, lr=lr, modulated=modulated, readout=readout)
        found = dict(net.named_modules())
        layer = found.get(hebbian)
        if not isinstance(layer, Linear | Conv2d):
            known = [name for name, module in found.items() if isinstance(module, Linear | Conv2d)]
            if layer is None:
                raise unknown_name("layer", hebbian, known)
            raise InputError(f"layer {hebbian!r} is {type(layer).__name__}; NHL changes a Linear or Conv2d: {known}")
        if not (0 <= rate < math.inf and 0 <= drift < math.inf):
            raise InputError(f"rate and drift must be 0 or more, got {rate} and {drift}")
        self._layer, self.rate, self.drift = layer, rate, drift
        self._rule = SoftHebb(beta=beta, power=0.0)  # lengths are kept below, so each neuron learns at the same rate
        self._start = layer.weight.detach().clone()

    def adapt(self, x: Tensor) -> None:
        """The Hebbian change, then the step down the entropy, for ``[T, B, ...]``."""
        if self.rate:
            self._follow_input(x)
        super().adapt(x)

    @torch.no_grad()
    def _follow_input(self, x: Tensor) -> None:
        rows = F.normalize(self._patches(self._input(x)), dim=1).unsqueeze(0)
        start = self._start.flatten(1)
        length = start.norm(dim=1, keepdim=True).clamp_min(1e-12)
        weight = self._layer.weight.flatten(1) / length
        drive = rows @ weight.t()
        change, _ = self._rule.change(weight, Activity(rows, drive, drive))
        moved = F.normalize(weight + self.rate * change * len(weight), dim=1) * length
        far = (moved - start).norm() / start.norm()
        if far > self.drift:
            moved = start + (moved - start) * (self.drift / far)
        self._layer.weight.copy_(moved.view_as(self._layer.weight))

    def _input(self, x: Tensor) -> Tensor:
        """Mean over time of what comes into the layer, ``[B, ...]``."""
        seen: list[Tensor] = []
        handle = self._layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].mean(0)))
        try:
            self.net(x)
        finally:
            handle.remove()
        return seen[0]

    def _patches(self, x: Tensor) -> Tensor:
        """``[P, I]``: what each neuron of the layer sees at each place, those that see nothing left out."""
        layer = self._layer
        if isinstance(layer, Conv2d):
            cut = F.unfold(x, layer.kernel_size, padding=layer.padding, stride=layer.stride)
            x = cut.transpose(1, 2).flatten(0, 1)
        return x[x.any(1)]
