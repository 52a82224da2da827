"""Losses in stretches against the losses of the whole output, and rules that learn within the sequence."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import neuro
from neuro.errors import InputError
from neuro.training.losses import LOSSES, TET, Contrastive, Loss, mean_membrane, spike_count, tet
from neuro.training.rules import BPTT, OTTT, RTRL, SLTT, SLTTK, TBPTT, EProp, Rule, choose_rule
from neuro.training.rules.forward_mode import FEEDBACK
from neuro.training.rules.online import reading

T, B, C = 23, 6, 3
Y = torch.tensor([0, 2, 1, 1, 0, 2])
WARM = Loss("warm", neuro.encoding.readouts.max_membrane, temperature=2.5)
MINE = Loss("mine", lambda output: output[3])


def drawn() -> Tensor:
    return torch.rand(T, B, C, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def run_through(loss: Loss, output: Tensor, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    read = reading(loss, Y, T)
    if read.waits(chunk):
        read.read_all(output.split(chunk))
    told = [read.told(part, i * chunk) for i, part in enumerate(output.split(chunk))]
    return read.result.loss, read.result.read(loss), torch.cat(told)


@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
@pytest.mark.parametrize("chunk", [1, 6, 23, 99])
@pytest.mark.parametrize(
    "loss", [*LOSSES.values(), TET(share=0.3, level=0.2, temperature=2.0), WARM, MINE], ids=lambda loss: loss.name
)
def test_a_loss_in_stretches_is_the_loss(loss: Loss, chunk: int, padded: bool) -> None:
    if padded:
        if loss is MINE:
            pytest.skip("reads no lengths")
        loss = loss.within(torch.tensor([23, 1, 7, 12, 6, 22]))
    leaf = drawn().requires_grad_()
    value = loss(leaf, Y)
    (expected,) = torch.autograd.grad(value, leaf)
    made, logits, told = run_through(loss, drawn(), chunk)
    assert float(made) == pytest.approx(float(value.detach()), rel=1e-13)
    assert torch.allclose(logits, loss.logits(drawn()), rtol=1e-12)
    assert torch.allclose(told, expected, rtol=1e-12, atol=1e-15)


def test_a_loss_that_looks_at_more_than_its_readout_is_given_all_of_it() -> None:
    class Second(Loss):
        def __call__(self, output: Tensor, y: Tensor) -> Tensor:
            return output[1].sum() + super().__call__(output, y)

    loss = Second("second", mean_membrane.readout)
    leaf = drawn().requires_grad_()
    (expected,) = torch.autograd.grad(loss(leaf, Y), leaf)
    assert torch.equal(run_through(loss, drawn(), 5)[2], expected)


def test_wrong_targets_are_refused_as_by_the_loss() -> None:
    for loss in (tet, mean_membrane, Contrastive()):
        with pytest.raises(InputError, match="holds class 3"):
            reading(loss, Y + 1, T).told(drawn(), 0)


def chain(*, leaky: bool = False) -> neuro.Sequential:
    torch.manual_seed(4)
    made = [neuro.Linear(6, 5), neuro.LIF(5, reset="subtract", tau=4e-3), neuro.Linear(5, 3)]
    net = neuro.Sequential(*made, *([neuro.LI(3)] if leaky else [])).double()
    g = torch.Generator().manual_seed(3)
    for name, value in net.named_parameters():
        if name.endswith(("weight", "bias")):
            value.data = torch.randn(value.shape, generator=g, dtype=torch.float64) * 8 / value.shape[-1] ** 0.5
    return net


ONLINE: tuple[Rule, ...] = (OTTT(every=1), SLTT(every=1), EProp(every=1), RTRL(every=4), OTTT(every=7))


def steps(rule: Rule, net: neuro.Sequential, x: Tensor, y: Tensor, lr: float) -> Iterator[dict[str, Tensor]]:
    """Gradient descent at each pause; the gradients that it spent."""
    net.zero_grad()
    for _ in rule.updates(net, x, y, tet):
        spent = {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
        with torch.no_grad():
            for p in net.parameters():
                if p.grad is not None:
                    p.sub_(lr * p.grad)
        net.zero_grad()
        yield spent


@pytest.mark.parametrize("rule", ONLINE, ids=str)
def test_online_gradients_add_up_to_those_of_the_sequence_where_nothing_moves(proofs: ModuleType, rule: Rule) -> None:
    net, (x, y) = chain(), proofs.batch()
    total: dict[str, Tensor] = {}
    spent = list(steps(rule, net, x, y, lr=0.0))
    assert len(spent) == -(-30 // rule.every)  # type: ignore[attr-defined]
    for made in spent:
        for name, grad in made.items():
            total[name] = total.get(name, 0) + grad
    proofs.assert_same(total, proofs.by(rule, net, tet))


@pytest.mark.parametrize("rule", ONLINE, ids=str)
def test_weights_move_within_the_sequence(proofs: ModuleType, rule: Rule) -> None:
    (x, y), still, moving = proofs.batch(), chain(), chain()
    fixed, online = (list(steps(rule, n, x, y, lr)) for n, lr in ((still, 0.0), (moving, 3.0)))
    assert torch.equal(fixed[0]["2.weight"], online[0]["2.weight"])  # the same until the first step was taken
    assert not torch.allclose(fixed[1]["2.weight"], online[1]["2.weight"])
    (loss,) = [float(r.loss) for r in BPTT().updates(moving, x, y, tet)]
    assert loss < float(BPTT().backward(still, x, y, tet).loss)


def test_the_results_on_the_way_are_those_of_the_steps_so_far(proofs: ModuleType) -> None:
    net, (x, y) = chain(), proofs.batch()
    *_, before, result = OTTT(every=1).updates(net, x, y, tet)
    with torch.no_grad():
        output, _ = net(x)
    assert torch.allclose(result.loss, tet(output, y), rtol=1e-12)
    assert torch.allclose(result.read(tet), tet.logits(output), rtol=1e-12)
    assert float(before.loss) == pytest.approx(float(tet(output[:-1], y)) * 29 / 30, rel=1e-12)


def test_online_and_feedback_by_name(proofs: ModuleType) -> None:
    net, (x, y) = chain(), proofs.batch()
    assert len(list(choose_rule("ottt_online").updates(net, x, y, tet))) == 30
    assert [choose_rule(name).feedback for name in ("eprop", "eprop_random", "eprop_adaptive")] == list(FEEDBACK)  # type: ignore[attr-defined]


def test_fit_steps_within_the_sequence(proofs: ModuleType) -> None:
    x, y = proofs.batch()
    samples = [(x[:, i].float(), int(y[i])) for i in range(5)]
    data = type("Data", (), {"train": samples, "validation": samples, "name": "five", "classes": tuple("abc")})()
    weights = []
    for rule in (OTTT(), OTTT(every=1)):
        net = chain(leaky=True).float()
        made = neuro.fit(net, data, rule, "tet", epochs=2, lr=1e-2, calibrated=True, progress=False)
        assert len(made.history) == 2
        weights.append(net.get_parameter("0.weight").detach().clone())
    assert not torch.allclose(weights[0], weights[1])


def test_refusals_name_what_works(proofs: ModuleType) -> None:
    net, (x, y) = chain(leaky=True), proofs.batch()
    steady: tuple[Rule, ...] = (OTTT(every=1), SLTT(every=2))
    for rule in steady:
        with pytest.raises(InputError, match=r"known at its end only; use loss='tet'"):
            next(rule.updates(net, x, y, spike_count))
    remembering: tuple[Rule, ...] = (EProp(every=1), RTRL(every=1))
    for rule in remembering:
        with pytest.raises(InputError, match=r"last layer '3' remember.*use rules\.OTTT"):
            next(rule.updates(net, x, y, tet))
    with pytest.raises(InputError, match="every=0 must be a whole number"):
        OTTT(every=0)


def peak_bytes(rule: Rule, net: neuro.Sequential, x: Tensor, y: Tensor, loss: Loss) -> int:
    """The most that all tensors made on the way took at once, those of the gradients not counted."""
    rule.backward(net, x, y, loss)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        rule.backward(net, x, y, loss)
    kept: list[int] = [e.nbytes() for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    return max(accumulate(kept))


@pytest.mark.parametrize("rule", [SLTT(8), OTTT(8), TBPTT(8), RTRL(8), EProp(8)], ids=lambda rule: type(rule).__name__)
def test_all_memory_is_flat_in_time(rule: Rule) -> None:
    torch.manual_seed(4)
    net = neuro.Sequential(neuro.Linear(30, 40), neuro.LIF(40), neuro.Linear(40, 3), neuro.LI(3))
    peaks = []
    for steps in (8, 40, 200):
        x = (torch.rand(steps, 9, 30) < 0.2).float()
        peaks.append(peak_bytes(rule, net, x, torch.arange(9) % 3, mean_membrane))
    assert max(peaks) <= 1.1 * min(peaks)


@pytest.mark.parametrize(
    "rule", [SLTT(8), SLTTK(3, seed=1), OTTT(8), TBPTT(8), RTRL(8), EProp(8)], ids=lambda rule: type(rule).__name__
)
@pytest.mark.parametrize("loss", [mean_membrane, tet], ids=["mean", "tet"])
def test_half_precision_is_near_single(rule: Rule, loss: Loss, proofs: ModuleType) -> None:
    net, (x, y) = chain(leaky=True).float(), proofs.batch()
    exact = proofs.gradients(net, lambda: rule.backward(net, x.float(), y, loss))
    with torch.autocast("cpu", torch.bfloat16):
        made = proofs.gradients(net, lambda: rule.backward(net, x.float(), y, loss))
    for name in ("0.weight", "2.weight"):
        assert torch.nn.functional.cosine_similarity(made[name].flatten(), exact[name].flatten(), 0) > 0.9
