"""Every local rule against autograd of an explicit loop with the edges cut that the rule declares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import neuro
from neuro.training.losses import Loss, max_membrane, mean_membrane, softmax_sum
from neuro.training.rules.local import DECOLLE, DRTP, LLS, TESS, TPSGD, LLSMatrix, LLSModulated, Synthetic
from neuro.training.rules.local.fixed_random import basis, uniform
from neuro.training.rules.local.three_factor import ThreeFactor

T, B, I, H, C = 13, 5, 9, 14, 4
TAU, WIDTH, THRESHOLD = 4e-3, 0.6, 0.9
DECAY = 1 - 1e-3 / TAU

RULES = {
    "drtp": DRTP(seed=2),
    "dfa": DRTP("error", seed=2),
    "sign": DRTP("sign"),
    "fa": DRTP("layers", seed=1),
    "tpsgd-l1": TPSGD(rate=0.3),
    "tpsgd-l2": TPSGD("l2", rate=0.3),
    "tpsgd-sparse": TPSGD("l2", rate=0.6, active=0.25),
    "decolle": DECOLLE(amplitude=2.0),
    "decolle-ce": DECOLLE("cross_entropy", amplitude=2.0, seed=1),
    "lls": LLS(),
    "lls-square": LLS("square", temperature=0.3),
    "lls-random": LLS("random", seed=3),
    "lls-m": LLSModulated(),
    "lls-mxm": LLSMatrix(seed=1),
    "synthetic": Synthetic(hidden=6, decay=0.6, seed=1),
    "tess": TESS(temperature=0.01, causal=0.7, acausal=1.3),
}
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())


def lif(neurons: int | tuple[int, ...]) -> neuro.LIF:
    surrogate = neuro.Surrogate("triangle", width=WIDTH)
    return neuro.LIF(neurons, tau=TAU, v_threshold=THRESHOLD, reset="subtract", learn=(), surrogate=surrogate)


def network(layers: int = 2) -> Any:
    torch.manual_seed(3)
    sizes = [I, *[H] * layers]
    hidden = [m for a, b in pairwise(sizes) for m in (neuro.Linear(a, b), lif(b))]
    net: Any = neuro.Sequential(*hidden, neuro.Linear(H, C), neuro.LI(C, tau=3e-3, learn=())).double()
    for module in net.modules():  # the numbers the explicit loop computes with, in double precision
        if isinstance(module, neuro.LIF):
            module.get_buffer("tau").fill_(TAU)
            module.get_buffer("v_threshold").fill_(THRESHOLD)
        if isinstance(module, neuro.LI):
            module.get_buffer("tau").fill_(3e-3)
    return neuro.calibrate(net, batch()[0], drive=1.0)


def batch(steps: int = T) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    x = (torch.rand(steps, B, I, generator=draw) < 0.4).double()
    return x, torch.randint(C, (B,), generator=draw)


def prepared(rule: ThreeFactor, net: Any) -> Any:
    """The rule with all that it learns away from zero."""
    made = rule.prepare(net)
    draw = torch.Generator().manual_seed(11)
    for parameter in [] if made.auxiliary is None else made.auxiliary.parameters():
        if not parameter.any():
            parameter.data = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
    return made


def gradients(rule: ThreeFactor, net: Any, x: Tensor, y: Tensor, loss: Loss) -> dict[str, Tensor]:
    net.zero_grad()
    prepared(rule, net).backward(net, x, y, loss)
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def through_surrogate(v: Tensor, spikes: Tensor) -> Tensor:
    """``spikes``, with the slope of the triangle by ``v``."""
    slope = (1 - (v.detach() - THRESHOLD).abs() / WIDTH).clamp_min(0)
    return spikes + slope * (v - v.detach())


def filtered(x: Tensor, decay: float) -> Tensor:
    made = [x[0]]
    for now in x[1:]:
        made.append(decay * made[-1] + now)
    return torch.stack(made)


def local_loss(rule: Any, name: str, spikes: Tensor, y: Tensor, error: Tensor) -> Tensor:
    """Sum over samples and steps of what each layer minimises; ``spikes [T, B, H]`` carry gradients."""
    target = functional.one_hot(y, C).double()
    steps = torch.arange(1, len(spikes) + 1).view(-1, 1, 1)
    match rule:
        case Synthetic():
            return (spikes * foretold(rule, name, spikes.detach(), target)).sum()
        case DRTP():
            source = {"target": target.expand(T, B, C), "error": error * B * T, "sign": error.sign()}[rule.feedback]
            return (spikes * (source @ uniform(rule.seed, name, C, H, spikes))).sum()
        case TPSGD():
            rates = spikes.detach().cumsum(0) / steps + spikes - spikes.detach()
            level = (1 - 2 * rule.active) * (6 / H) ** 0.5
            aim = rule.rate * (target @ uniform(rule.seed, name, C, H, spikes) > level).double()
            off: Tensor = (rates - aim).abs() if rule.norm == "l1" else 0.5 * (rates - aim).square()
            return off.sum()
        case DECOLLE():
            half = rule.amplitude / H**0.5
            answer = spikes @ (uniform(rule.seed, name, C, H, spikes) * (half / (6 / H) ** 0.5)).t()
            if rule.loss == "smooth_l1":
                return functional.smooth_l1_loss(answer, target.expand_as(answer), reduction="sum")
            return functional.cross_entropy(answer.flatten(0, 1), y.repeat(T), reduction="sum")
        case LLS():
            vectors = basis(rule.vectors, C, H, rule.seed, name, spikes)
            if isinstance(rule, TESS):
                answer = spikes @ vectors.t() / H
                silent = torch.zeros(T, B, dtype=torch.bool)
            else:
                silent = ~spikes.detach().bool().any(2)  # they have no direction
                answer = spikes / spikes.norm(dim=2, keepdim=True).clamp_min(1e-12) @ vectors.t()
            if isinstance(rule, LLSModulated):
                held: Any = rule.auxiliary
                own = held[f"layer_{name}"]
                answer = answer @ own if isinstance(rule, LLSMatrix) else answer * own
            losses = functional.cross_entropy((answer / rule.temperature).flatten(0, 1), y.repeat(T), reduction="none")
            return losses.view(T, B)[~silent].sum()
    raise AssertionError(rule)


def foretold(rule: Any, name: str, spikes: Tensor, target: Tensor) -> Tensor:
    """What the predictor of a layer says, with a graph to its parameters cut off."""
    held = rule.auxiliary[f"layer_{name}"]
    seen = torch.cat([(1 - rule.decay) * filtered(spikes, rule.decay), target.expand(T, B, C)], 2)
    hidden = functional.linear(seen, held.into, held.offset).clamp_min(0)
    return functional.linear(hidden, held.out, held.base)


def carried(rule: Any, net: Any, x: Tensor, y: Tensor, error: Tensor) -> list[Tensor]:
    """What comes down to each hidden layer's spikes ``B T dL/ds``, through the layer above alone, step by step."""
    layers = list(net.layers.items())
    spikes, target = [x], functional.one_hot(y, C).double()
    for _, layer in layers:
        spikes.append(layer.trace(spikes[-1])[0] if isinstance(layer, neuro.LIF) else layer(spikes[-1]))
    down = error * B * T * 1e-3 / 3e-3  # the drive of the readout
    made = []
    for number in reversed(range(2, len(layers), 2)):
        weight = layers[number][1].weight
        if isinstance(rule, DRTP):
            name = f"{layers[number + 1][0]}.weight"
            weight = uniform(rule.seed, name, weight.shape[0], weight.shape[1], weight)
        made.append((down @ weight).detach())
        name, cell = layers[number - 1]
        came = made[-1] if isinstance(rule, DRTP) else foretold(rule, name, spikes[number].detach(), target).detach()
        slope = (1 - (cell.trace(spikes[number - 1])[2]["v"] - THRESHOLD).abs() / WIDTH).clamp_min(0)
        down = came * slope * 1e-3 / TAU
    return made[::-1]


def by_autograd(rule: ThreeFactor, net: Any, x: Tensor, y: Tensor, loss: Loss) -> dict[str, Tensor]:
    """Hidden layers written out: the trace is data, the slope is the surrogate's, nothing else carries a gradient."""
    net.zero_grad()
    output = net(x)[0].detach().requires_grad_()
    (error,) = torch.autograd.grad(loss(output, y), output)
    layers = list(net.layers.items())
    down = carried(rule, net, x, y, error) if isinstance(rule, DRTP | Synthetic) else [x] * len(layers)
    for (_, synapse), (name, cell), came in zip(layers[:-2:2], layers[1:-2:2], down, strict=False):
        with torch.no_grad():
            spikes, _, states = cell.trace(synapse(x))
        weight, bias, gain = synapse.weight, synapse.bias, 1e-3 / TAU
        if isinstance(rule, TESS):
            moved = gain * functional.linear(filtered(x, rule.pre_decay), weight) * rule.causal
            ones = filtered(torch.ones(len(x), 1, 1).double(), rule.pre_decay)
            moved = moved + gain * ones * bias * rule.causal
            slope = gain * (1 - (states["v"] - THRESHOLD).abs() / WIDTH).clamp_min(0)
            late = torch.cat([torch.zeros_like(slope[:1]), filtered(slope, rule.post_decay)[:-1]])
            late_drive = rule.acausal * synapse(x)
            answered = through_surrogate(states["v"] + moved - moved.detach(), spikes)
            answered = answered + late * (late_drive - late_drive.detach())
        else:
            ones = filtered(torch.ones(len(x), 1, 1).double(), DECAY)
            moved = gain * (functional.linear(filtered(x, DECAY), weight) + ones * bias)
            answered = through_surrogate(states["v"] + moved - moved.detach(), spikes)
        if isinstance(rule, DRTP) and rule.feedback == "layers":
            ((answered * came).sum() / (B * T)).backward()
        else:
            (local_loss(rule, name, answered, y, error) / (B * T)).backward()
        if isinstance(rule, Synthetic):
            told: Any = rule
            told.auxiliary[f"layer_{name}"].zero_grad()  # its own target is another
            wrong = foretold(rule, name, spikes, functional.one_hot(y, C).double()) - came
            (0.5 * wrong.square().sum() / (B * T)).backward()
        x = spikes
    last = neuro.Sequential(*[layer for _, layer in layers[-2:]])
    loss(last(x)[0], y).backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor], rel: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        scale = float(value.abs().max())
        assert scale > 0, f"a zero gradient of {name} proves nothing"
        assert float((ours[name] - value).abs().max()) <= rel * scale, name


@pytest.mark.parametrize("loss", [mean_membrane, max_membrane, softmax_sum], ids=lambda loss: loss.name)
@each_rule
def test_closed_form_is_autograd_with_the_cuts_declared(rule: ThreeFactor, loss: Loss) -> None:
    net, (x, y) = network(), batch()
    ready = prepared(rule, net)
    expected = by_autograd(ready, net, x, y, loss)
    own = [] if ready.auxiliary is None else [p.grad.clone() for p in ready.auxiliary.parameters()]
    assert_close(gradients(rule, net, x, y, loss), expected, 1e-9)
    if own:
        ready.auxiliary.zero_grad()
        ready.backward(net, x, y, loss)
        for parameter, grad in zip(ready.auxiliary.parameters(), own, strict=True):
            assert bool(grad.any())
            assert torch.allclose(parameter.grad, grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", [r for r in RULES.values() if r != RULES["fa"]], ids=[n for n in RULES if n != "fa"])
def test_nothing_outside_the_factors_counts(rule: ThreeFactor) -> None:
    """Layers above, the output and its loss: changed, they leave the update of the layers below bitwise as it was."""
    net, (x, y) = network(3), batch()
    before = gradients(rule, net, x, y, mean_membrane)
    with torch.no_grad():
        net.layers["4"].weight.mul_(-1.7)  # the third hidden layer
        if not rule.reads_error():
            net.layers["6"].weight.mul_(-2)
            net.layers["6"].bias.add_(3)
    if rule.reads_error():  # it reads the output; then the layers between are what must not count
        with torch.no_grad():
            net.layers["4"].weight.div_(-1.7)
            net.layers["2"].weight.requires_grad_(False)
    after = gradients(rule, net, x, y, mean_membrane if rule.reads_error() else max_membrane)
    for name in ("0.weight", "0.bias", "2.bias"):
        assert torch.equal(before[name], after[name]), name
    if not rule.reads_error():
        assert torch.equal(before["2.weight"], after["2.weight"])
        assert not torch.equal(before["6.weight"], after["6.weight"])


@each_rule
def test_the_chunk_changes_nothing(rule: ThreeFactor) -> None:
    net, (x, y) = network(), batch()
    whole = gradients(rule, net, x, y, max_membrane)
    for chunk in (1, 4, 12):
        assert_close(gradients(replace(rule, chunk=chunk), net, x, y, max_membrane), whole, 1e-9)


@each_rule
def test_what_it_returns_and_that_gradients_add_up(rule: ThreeFactor) -> None:
    net, (x, y) = network(), batch()
    once = gradients(rule, net, x, y, mean_membrane)
    result = prepared(rule, net).backward(net, x, y, mean_membrane)
    output = net(x)[0].detach()
    assert torch.allclose(result.read(mean_membrane), mean_membrane.logits(output), rtol=1e-12)
    assert float(result.loss) == pytest.approx(float(mean_membrane(output, y)), rel=1e-12)
    for name, parameter in net.named_parameters():
        assert torch.allclose(parameter.grad, 2 * once[name], rtol=1e-12)


class _Saved:
    """A tensor kept for backward, that says when it is let go."""

    def __init__(self, tensor: Tensor, meter: Meter) -> None:
        self.tensor, self._meter, self._bytes = tensor, meter, tensor.numel() * tensor.element_size()
        meter.live += self._bytes
        meter.peak = max(meter.peak, meter.live)

    def __del__(self) -> None:
        self._meter.live -= self._bytes


class Meter:
    """Bytes saved for backward, now and at most."""

    live = peak = 0

    @contextmanager
    def measure(self) -> Iterator[None]:
        with torch.autograd.graph.saved_tensors_hooks(lambda t: _Saved(t, self), lambda saved: saved.tensor):
            yield


@each_rule
def test_memory_does_not_grow_with_time(rule: ThreeFactor) -> None:
    peaks = []
    for steps in (10, 1000):
        net, meter, (x, y) = network(), Meter(), batch(steps)
        ready = prepared(replace(rule, chunk=10), net)
        quiet = Loss("last", lambda output: output[-1])
        with meter.measure():
            ready.backward(net, x, y, quiet)
        peaks.append(meter.peak)
    assert peaks[1] <= 1.1 * peaks[0]


@pytest.mark.parametrize("rule", [DECOLLE(), LLS(), TPSGD(), DRTP(), DRTP("layers"), Synthetic(hidden=5)], ids=repr)
def test_convolutions_and_recurrent_layers_learn(rule: ThreeFactor) -> None:
    torch.manual_seed(1)
    conv = neuro.Sequential(
        neuro.Conv2d(1, 3, 3, mode="dense"),
        lif((3, 4, 4)),
        neuro.Flatten(),
        neuro.Linear(48, 12),
        neuro.Recurrent(lif(12)),
        neuro.Linear(12, C),
        neuro.LI(C, tau=3e-3, learn=()),
    ).double()
    x, y = (torch.rand(10, B, 1, 6, 6) < 0.4).double(), torch.arange(B) % C
    neuro.calibrate(conv, x, drive=1.0)
    prepared(rule, conv).backward(conv, x, y, mean_membrane)
    for name, parameter in conv.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert bool(parameter.grad.any()), name


def test_feedback_alignment_reads_no_weight_above() -> None:
    """But their spikes and slopes: weights of the readout that leave its output as it is change nothing below."""
    net, (x, y) = network(3), batch()
    rule, quiet = DRTP("layers"), Loss("first", lambda output: output[-1] - output[-1].detach())
    before = gradients(rule, net, x, y, quiet)
    with torch.no_grad():
        net.layers["6"].weight.mul_(-2)
    after = gradients(rule, net, x, y, quiet)
    for name in ("0.weight", "2.weight", "4.weight", "4.bias"):
        assert bool(before[name].any())
        assert torch.equal(before[name], after[name]), name
