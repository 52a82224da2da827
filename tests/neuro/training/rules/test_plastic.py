"""Local rules beside a rule that follows an error: each writes its own part."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.plasticity import STDP, SoftHebb, TimingLaw, Triangle, write_grad
from neuro.training.losses import max_membrane
from neuro.training.rules import (
    BPTT,
    HebbianSTDP,
    HiddenHebbian,
    HiddenOja,
    HiddenSanger,
    HiddenSoftHebb,
    Plastic,
    RewardSTDP,
)

each_hidden = pytest.mark.parametrize(
    "rule", [HiddenOja(), HiddenSanger(), HiddenSoftHebb(), HebbianSTDP(), RewardSTDP()], ids=lambda r: type(r).__name__
)


def network() -> tuple[neuro.Sequential, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.Linear(8, 6), neuro.LIF(6), neuro.Linear(6, 3), neuro.LI(3))
    torch.nn.init.uniform_(net.layers["0"].get_parameter("weight"), 0.5, 2.0)
    return net, (torch.rand(20, 4, 8) < 0.5).float(), torch.tensor([0, 1, 2, 0])


def grads(net: neuro.Sequential) -> dict[str, torch.Tensor | None]:
    return {name: None if p.grad is None else p.grad.clone() for name, p in net.named_parameters()}


def test_each_parameter_has_one_teacher() -> None:
    net, x, y = network()
    local = {"0": STDP(TimingLaw())}
    error = BPTT().backward(net, x, y, max_membrane)
    by_error = grads(net)
    net.zero_grad()
    write_grad(net, x, local)
    by_timing = grads(net)["0.weight"]
    assert by_timing is not None
    assert by_timing.abs().max() > 0
    net.zero_grad()
    rule = Plastic(local, others=BPTT())
    result = rule.backward(net, x, y, max_membrane)
    assert torch.equal(result.loss, error.loss)
    for name, found in grads(net).items():
        wanted = by_timing if name == "0.weight" else by_error[name]
        assert found is not None
        assert wanted is not None
        assert torch.equal(found, wanted), name
    rule.backward(net, x, y, max_membrane)  # adds to what is there
    twice = grads(net)["0.weight"]
    assert twice is not None
    assert torch.allclose(twice, 2 * by_timing)


def test_alone_it_touches_nothing_else() -> None:
    net, x, y = network()
    result = Plastic({"0": SoftHebb()}).backward(net, x, y, max_membrane)
    assert [name for name, grad in grads(net).items() if grad is not None] == ["0.weight"]
    output, _ = net(x)
    assert torch.equal(result.output, output)
    assert torch.equal(result.loss, max_membrane(output, y))
    assert not result.loss.requires_grad


# --- hidden layers by a local rule, the last one by the loss ------------------------------------------------


def deeper() -> tuple[neuro.Sequential, torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    net = neuro.Sequential(
        neuro.Linear(8, 7), neuro.LIF(7), neuro.Linear(7, 6), neuro.LIF(6), neuro.Linear(6, 3), neuro.LI(3)
    )
    x = (torch.rand(20, 4, 8) < 0.5).float()
    neuro.calibrate(net, x, drive=1.5)
    return net, x, torch.tensor([0, 1, 2, 0])


@each_hidden
def test_hidden_layers_follow_the_local_rule_and_the_last_one_the_loss(rule: HiddenHebbian) -> None:
    net, x, y = deeper()
    BPTT().backward(net, x, y, max_membrane)
    by_loss = grads(net)
    net.zero_grad()
    result = rule.backward(net, x, y, max_membrane)
    found = grads(net)
    net.zero_grad()
    reward = None
    if isinstance(rule, RewardSTDP):
        alone = torch.stack([max_membrane(net(x[:, b : b + 1])[0], y[b : b + 1]) for b in range(4)]).detach()
        reward = torch.cat([torch.zeros(19, 4), (alone.mean() - alone).unsqueeze(0)])
    write_grad(net, x, {"0": rule.local, "2": rule.local}, modulator=reward)
    by_rule = grads(net)
    assert {name for name, grad in found.items() if grad is not None} == {
        *("0.weight", "2.weight"),
        *(name for name, grad in by_loss.items() if grad is not None and name[0] in "45"),
    }
    for name, grad in found.items():
        if grad is not None:
            wanted = by_rule[name] if name[0] in "02" else by_loss[name]
            assert wanted is not None
            assert torch.equal(grad, wanted), name
            assert grad.abs().max() > 0
    assert torch.equal(result.output, net(x)[0])
    assert all(p.requires_grad for p in net.parameters())


@each_hidden
def test_labels_reach_no_hidden_layer_but_by_the_reward(rule: HiddenHebbian) -> None:
    net, x, y = deeper()
    rule.backward(net, x, y, max_membrane)
    before = grads(net)
    net.zero_grad()
    rule.backward(net, x, (y + 1) % 3, max_membrane)
    after = grads(net)
    for name in ("0.weight", "2.weight"):
        a, b = before[name], after[name]
        assert a is not None
        assert b is not None
        assert torch.equal(a, b) is not isinstance(rule, RewardSTDP)
    a, b = before["4.weight"], after["4.weight"]
    assert a is not None
    assert b is not None
    assert not torch.equal(a, b)


def test_one_reward_for_all_changes_nothing() -> None:
    net, x, y = deeper()
    RewardSTDP().backward(net, x[:, :1], y[:1], max_membrane)
    held = grads(net)["0.weight"]
    assert held is not None
    assert (held == 0).all()


def test_the_network_is_left_as_it_was_after_an_error() -> None:
    net, x, y = deeper()
    with pytest.raises(InputError, match="x must be 0 or 1"):
        HebbianSTDP().backward(net, 0.5 * x, y, max_membrane)
    assert all(p.requires_grad for p in net.parameters())


def test_what_it_cannot_train_is_refused() -> None:
    x, y = torch.ones(3, 2, 1, 4, 4), torch.tensor([0, 1])
    net = neuro.Sequential(neuro.Conv2d(1, 2, 3), neuro.Flatten(), neuro.LIF(8), neuro.Linear(8, 2))
    with pytest.raises(InputError, match="layer '0' is Conv2d; take 'bptt'"):
        HiddenOja().backward(net, x, y, max_membrane)
    with pytest.raises(InputError, match="no layer with weights"):
        HiddenOja().backward(neuro.Sequential(neuro.LIF(2)), torch.ones(3, 2, 2), y, max_membrane)


@dataclass(frozen=True)
class Held:
    """Rows ``[S, I]`` as sequences of one step."""

    x: torch.Tensor
    y: torch.Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.x[i : i + 1], int(self.y[i])


@dataclass(frozen=True)
class Splits:
    train: Held
    validation: Held
    test: Held
    name: str = "groups"
    classes: tuple[str, ...] = ("a", "b")


def test_fit_learns_by_name() -> None:
    """Two groups of inputs, one for each class: a rate network whose hidden layer sees no label."""
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (60,), generator=draw)
    rows = torch.eye(2).repeat_interleave(6, 1)[y] + 0.3 * torch.rand(60, 12, generator=draw)
    splits = Splits(Held(rows[:40], y[:40]), Held(rows[40:], y[40:]), Held(rows[:0], y[:0]))
    torch.manual_seed(1)
    net = neuro.Sequential(neuro.Linear(12, 6, bias=False), Triangle(), neuro.Linear(6, 2))
    before = net.layers["0"].get_parameter("weight").clone()
    fitted = neuro.fit(
        net, splits, "softhebb", "mean_membrane", epochs=8, batch_size=8, calibrated=True, progress=False
    )
    assert fitted.validation_accuracy == 1.0
    assert not torch.equal(before, net.layers["0"].get_parameter("weight"))
