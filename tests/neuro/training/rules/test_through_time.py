from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.kernels import Route
from neuro.training.losses import LOSSES, Loss, max_membrane, mean_membrane, spike_count, tet
from neuro.training.rules import BPTT, RULES, SLTT, SLTTK, TBPTT, Rule, RuleResult, choose_rule

T, B = 37, 5
LAST = Loss("last", lambda output: output[-1])


def network(kind: str = "LIF", *, dt: float = 1e-3, tau: float = 4e-3) -> neuro.Sequential:
    torch.manual_seed(3)
    cell: dict[str, Callable[[int], neuro.Cell]] = {
        "LIF": lambda n: neuro.LIF(n, tau=tau, dt=dt),
        "fixed": lambda n: neuro.LIF(n, tau=torch.tensor(tau, dtype=torch.float64), dt=dt, learn=()),
        "subtract": lambda n: neuro.LIF(n, tau=tau, dt=dt, reset="subtract", v_leak=0.1, method="exponential"),
        "CuBaLIF": lambda n: neuro.CuBaLIF(n, tau_mem=tau, tau_syn=2e-3, dt=dt, method="exponential"),
        "LI": lambda n: neuro.LI(n, tau=tau, dt=dt),
    }
    hidden = "LIF" if kind == "LI" else kind
    net = neuro.Sequential(neuro.Linear(9, 8), cell[hidden](8), neuro.Linear(8, 4), cell[kind](4)).double()
    return neuro.calibrate(net, batch()[0])


def batch(steps: int = T) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    x = (torch.rand(steps, B, 9, generator=draw) < 0.3).double()
    return x, torch.randint(4, (B,), generator=draw)


def gradients(net: neuro.Sequential, backward: Callable[[], object]) -> dict[str, Tensor]:
    net.zero_grad()
    backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def one_shot(net: neuro.Sequential, x: Tensor, y: Tensor, loss: Loss, route: Route) -> dict[str, Tensor]:
    return gradients(net, lambda: loss(net(x, route=route)[0], y).backward())


def by_rule(rule: Rule, net: neuro.Sequential, x: Tensor, y: Tensor, loss: Loss) -> dict[str, Tensor]:
    return gradients(net, lambda: rule.backward(net, x, y, loss))


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], rel: float) -> None:
    assert ours.keys() == theirs.keys()
    assert max(float(value.abs().max()) for value in theirs.values()) > 0, "a zero gradient proves nothing"
    for name, value in ours.items():
        assert (value - theirs[name]).abs().max() <= rel * theirs[name].abs().max(), name


@pytest.mark.parametrize(
    ("kind", "loss"),
    [(k, loss) for loss in LOSSES.values() for k in ("LIF", "LI") if (k, loss.name) != ("LI", "first_spike")],
)
def test_bptt_is_autograd(kind: str, loss: Loss) -> None:
    net, (x, y) = network(kind), batch()
    assert_same(by_rule(BPTT(), net, x, y, loss), one_shot(net, x, y, loss, Route()), 0.0)


def test_bptt_through_the_reset() -> None:
    net, (x, y) = network("LIF"), batch()
    loss = next(iter(LOSSES.values()))
    kept = by_rule(BPTT(cut_reset=False), net, x, y, loss)
    assert_same(kept, one_shot(net, x, y, loss, Route(cut_reset=False)), 0.0)
    assert not torch.equal(kept["0.weight"], by_rule(BPTT(), net, x, y, loss)["0.weight"])


@pytest.mark.parametrize("chunk", [1, 5, 36, 37, 100])
@pytest.mark.parametrize("kind", ["LIF", "subtract", "CuBaLIF", "LI"])
def test_sltt_is_the_cut_graph_for_any_chunk(kind: str, chunk: int) -> None:
    net, (x, y) = network(kind), batch()
    expected = one_shot(net, x, y, spike_count, Route(cut_time=True))
    assert_same(by_rule(SLTT(chunk), net, x, y, spike_count), expected, 1e-10)


@pytest.mark.parametrize("loss", [mean_membrane, max_membrane, LAST], ids=lambda loss: loss.name)
@pytest.mark.parametrize("kind", ["LIF", "LI"])
def test_sltt_is_the_cut_graph_for_any_loss(kind: str, loss: Loss) -> None:
    net, (x, y) = network(kind), batch()
    expected = one_shot(net, x, y, loss, Route(cut_time=True))
    assert_same(by_rule(SLTT(10), net, x, y, loss), expected, 1e-10)


def test_sltt_is_not_bptt_where_the_membrane_remembers() -> None:
    net, (x, y) = network(), batch()
    ours, theirs = (by_rule(rule, net, x, y, spike_count)["0.weight"] for rule in (SLTT(), BPTT()))
    assert (ours - theirs).norm() > 0.1 * theirs.norm()


@pytest.mark.parametrize("chunk", [4, 64])
def test_sltt_is_bptt_where_the_membrane_forgets(chunk: int) -> None:
    net, (x, y) = network("fixed", dt=4e-3, tau=4e-3), batch()  # Euler with dt = tau: nothing is left of v[t-1]
    bptt, sltt = (by_rule(rule, net, x, y, spike_count) for rule in (BPTT(), SLTT(chunk)))
    assert_same(sltt, bptt, 1e-12)


@pytest.mark.parametrize("chunk", [10, 37])
def test_sltt_is_blind_to_earlier_inputs_of_a_last_step_loss(chunk: int) -> None:
    net, (x, y) = network(), batch()
    x.requires_grad_()
    SLTT(chunk).backward(net, x, y, LAST)
    assert x.grad is not None
    assert torch.count_nonzero(x.grad[:-1]) == 0
    assert torch.count_nonzero(x.grad[-1]) > 0
    seen = x.detach().requires_grad_()
    BPTT().backward(net, seen, y, LAST)
    assert seen.grad is not None
    assert torch.count_nonzero(seen.grad[:-1]) > 0


@pytest.mark.parametrize("rule", [BPTT(), SLTT(7)], ids=["bptt", "sltt"])
def test_what_a_rule_returns(rule: Rule) -> None:
    net, (x, y) = network(), batch()
    result = rule.backward(net, x, y, spike_count)
    assert isinstance(result, RuleResult)
    with torch.no_grad():
        output, _ = net(x)
    assert torch.equal(result.read(spike_count), spike_count.logits(output))
    assert float(result.loss) == pytest.approx(float(spike_count(output, y)), rel=1e-12)
    assert not result.read(spike_count).requires_grad
    assert not result.loss.requires_grad
    if isinstance(rule, BPTT):
        assert torch.equal(result.output, output)
    else:
        with pytest.raises(InputError, match=r"kept the logits only; use result\.logits"):
            _ = result.output
    mine = Loss("mine", lambda output: output[3])  # nothing is known of how it reads
    assert torch.equal(rule.backward(net, x, y, mine).output, output)


@pytest.mark.parametrize("rule", [BPTT(), SLTT(7)], ids=["bptt", "sltt"])
def test_gradients_add_up(rule: Rule) -> None:
    net, (x, y) = network(), batch()
    once = by_rule(rule, net, x, y, spike_count)
    rule.backward(net, x, y, spike_count)
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, 2 * once[name], rtol=1e-12)


def test_both_runs_of_sltt_draw_the_same_numbers() -> None:
    net, (x, y) = network(), batch()
    net = neuro.Sequential(net.layers["0"], net.layers["1"], torch.nn.Dropout(0.5), net.layers["2"], net.layers["3"])
    torch.manual_seed(1)
    output, _ = net(x[:10])  # a chunk of the first run draws what this draws
    torch.manual_seed(1)
    ours = gradients(net, lambda: SLTT(10).backward(net, x[:20], y, spike_count))
    torch.manual_seed(1)
    chunks = [net(x[:10], route=Route(cut_time=True))]
    chunks.append(net(x[10:20], chunks[0][1], route=Route(cut_time=True)))
    theirs = gradients(net, lambda: spike_count(torch.cat([z for z, _ in chunks]), y).backward())
    assert torch.equal(output, chunks[0][0])
    assert_same(ours, theirs, 1e-10)


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


def peak(rule: Rule, steps: int) -> int:
    net, meter, (x, y) = network(), Meter(), batch(steps)
    with meter.measure():
        rule.backward(net, x, y, spike_count)
    return meter.peak


def test_memory_for_backward_is_flat_in_sltt_and_grows_with_time_in_bptt() -> None:
    flat = [peak(SLTT(8), steps) for steps in (16, 64, 256)]
    grown = [peak(BPTT(), steps) for steps in (16, 64, 256)]
    assert max(flat) < 1.1 * min(flat)
    assert grown[2] - grown[1] == pytest.approx(4 * (grown[1] - grown[0]), rel=0.01)
    assert grown[2] > 10 * flat[2]


def test_a_non_finite_loss_is_returned_for_the_trainer_to_judge() -> None:
    net, (x, y) = network("LI"), batch()
    with torch.no_grad():
        net.get_parameter("2.bias").fill_(float("nan"))
    result = SLTT(10).backward(net, x, y, mean_membrane)
    assert not torch.isfinite(result.loss)


@pytest.mark.parametrize("chunk", [0, -3, 2.5, "8"])
def test_the_chunk_is_a_positive_number_of_steps(chunk: int) -> None:
    with pytest.raises(InputError, match=r"chunk=.* at least 1"):
        SLTT(chunk)


def test_rules_by_name() -> None:
    assert choose_rule("bptt") == BPTT()
    assert choose_rule(SLTT(3)) == SLTT(3)
    assert {RULES[name]().__class__ for name in ("bptt", "tbptt", "sltt", "sltt_k")} == {BPTT, TBPTT, SLTT, SLTTK}
    with pytest.raises(InputError, match="did you mean 'bptt'"):
        choose_rule("bppt")


@pytest.mark.parametrize("steps", [1, 4, T - 1, T, T + 5])
def test_truncation_cuts_between_stretches_only(steps: int) -> None:
    net, (x, y) = network("CuBaLIF"), batch()

    def stretches() -> None:
        state, made = None, []
        for part in x.split(steps):
            z, state = net(part, state, route=Route())
            state = tuple(None if s is None else tuple(v.detach() for v in s) for s in state)
            made.append(z)
        mean_membrane(torch.cat(made), y).backward()

    assert_same(by_rule(TBPTT(steps), net, x, y, mean_membrane), gradients(net, stretches), 1e-9)
    if steps >= T:
        assert_same(by_rule(TBPTT(steps), net, x, y, mean_membrane), by_rule(BPTT(), net, x, y, mean_membrane), 1e-9)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_steps_drawn_at_random_are_sltt_in_the_mean(k: int) -> None:
    net, (x, y) = network(), batch(4)
    choices = list(combinations(range(4), k))
    total: dict[str, Tensor] = {}
    for steps in choices:
        made = gradients(net, lambda s=steps: SLTTK(k).on_steps(net, x, y, spike_count, s))  # type: ignore[misc]
        for name, grad in made.items():
            total[name] = total.get(name, 0) + grad / len(choices)
    assert_same(total, by_rule(SLTT(), net, x, y, spike_count), 1e-9)
    again = [by_rule(SLTTK(k, seed=5), net, x, y, spike_count) for _ in range(2)]
    assert all(torch.equal(again[0][n], again[1][n]) for n in total)
    assert_same(by_rule(SLTTK(9), net, x, y, spike_count), by_rule(SLTT(), net, x, y, spike_count), 1e-9)


@pytest.mark.parametrize("loss", [spike_count, tet], ids=["count", "tet"])
@pytest.mark.parametrize("between", [torch.nn.Dropout(0.5), neuro.BatchNorm(8)], ids=["dropout", "norm"])
def test_drawn_steps_run_as_they_were_where_samples_are_not_alone(between: torch.nn.Module, loss: Loss) -> None:
    net, (x, y) = network(), batch(6)
    layers = list(net.layers.values())
    net = neuro.Sequential(*layers[:2], between, *layers[2:]).double()
    torch.manual_seed(1)
    ours = gradients(net, lambda: SLTTK(6).on_steps(net, x, y, loss, range(6)))
    torch.manual_seed(1)
    assert_same(ours, by_rule(SLTT(1), net, x, y, loss), 1e-10)
