"""Sensitivities carried forward in time against the graph whose gradient they claim."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.kernels import Route
from neuro.training.losses import Loss, last_membrane, max_membrane, mean_membrane, spike_count
from neuro.training.rules import BPTT, OTTT, RTRL, SLTT, EProp
from neuro.training.rules.local.chain import chain

CELLS: dict[str, Callable[[int], neuro.Cell]] = {
    "LIF": lambda n: neuro.LIF(n, tau=5e-3),
    "LIF kept reset": lambda n: neuro.LIF(n, tau=5e-3, reset="subtract", method="exponential"),
    "ALIF": lambda n: neuro.ALIF(n),
    "CuBaLIF": lambda n: neuro.CuBaLIF(n, method="exponential"),
    "LI": lambda n: neuro.LI(n, tau=5e-3),
}
each_cell = pytest.mark.parametrize("cell", CELLS)


@each_cell
@pytest.mark.parametrize("loss", [mean_membrane, max_membrane], ids=["mean", "max"])
def test_rtrl_is_bptt_over_seventy_steps(proofs: ModuleType, cell: str, loss: Loss) -> None:
    net = proofs.network(neuro.Linear(6, 7), CELLS[cell](7), neuro.Linear(7, 3))
    proofs.assert_same(proofs.by(RTRL(16), net, loss, 70), proofs.by(BPTT(), net, loss, 70))


@pytest.mark.parametrize("chunk", [1, 16, 99])
def test_rtrl_of_an_elstm_is_bptt_over_seventy_steps(proofs: ModuleType, chunk: int) -> None:
    torch.manual_seed(1)
    net = neuro.Sequential(neuro.Linear(6, 5), neuro.ELSTM(5, 7), neuro.Linear(7, 3)).double()
    net.requires_grad_(True)
    ours, theirs = proofs.by(RTRL(chunk), net, last_membrane, 70), proofs.by(BPTT(), net, last_membrane, 70)
    proofs.assert_same(ours, theirs, "1.")
    proofs.assert_same(ours, theirs, "2.")
    assert set(ours) == set(theirs)
    with pytest.raises(InputError, match=r"not layer '1' \(LIF\); use rule='bptt'"):
        proofs.by(RTRL(), neuro.Sequential(neuro.ELSTM(6, 3), neuro.LIF(3)).double(), last_membrane)


@each_cell
def test_rtrl_is_bptt_through_a_leaky_readout_too(proofs: ModuleType, cell: str) -> None:
    net = proofs.network(
        neuro.Linear(6, 7), CELLS[cell](7), neuro.Linear(7, 3), neuro.LI(3, tau=torch.tensor([1e-3, 3e-3, 9e-3]))
    )
    proofs.assert_same(proofs.by(RTRL(16), net, max_membrane, 70), proofs.by(BPTT(), net, max_membrane, 70))


@each_cell
@pytest.mark.parametrize("chunk", [1, 13, 64])
def test_eprop_is_autograd_with_recurrent_spikes_taken_as_given(proofs: ModuleType, cell: str, chunk: int) -> None:
    if cell == "LI":
        pytest.skip("no spikes to take as given")
    net = proofs.network(neuro.Linear(6, 7), neuro.Recurrent(CELLS[cell](7)), neuro.Linear(7, 3), neuro.LI(3, tau=3e-3))
    ours, theirs = (
        proofs.by(EProp(chunk), net, mean_membrane),
        proofs.by_graph(net, mean_membrane, Route(cut_recurrence=True)),
    )
    proofs.assert_same(ours, theirs)
    full = proofs.by(BPTT(), net, mean_membrane)["1.weight"]
    assert float((ours["1.weight"] - full).abs().max()) > 1e-3 * float(full.abs().max())


@pytest.mark.parametrize("feedback", ["random", "adaptive"])
def test_feedback_of_its_own(proofs: ModuleType, feedback: str) -> None:
    net = proofs.network(neuro.Linear(6, 7), neuro.Recurrent(neuro.LIF(7)), neuro.Linear(7, 3), neuro.LI(3, tau=3e-3))
    rule = EProp(feedback=feedback, seed=4).prepare(net)
    made, symmetric = proofs.by(rule, net, mean_membrane), proofs.by(EProp(), net, mean_membrane)
    proofs.assert_same(made, symmetric, "2.")  # the output learns the same
    assert not torch.allclose(made["0.weight"], symmetric["0.weight"])
    again = proofs.by(EProp(feedback=feedback, seed=4).prepare(net), net, mean_membrane)
    assert torch.equal(again["0.weight"], made["0.weight"])
    blocks_weight = net.layers["2"].get_parameter("weight")
    if feedback == "adaptive":
        assert rule.auxiliary is not None
        (way_back,) = rule.auxiliary.parameters()
        assert way_back.grad is not None
        assert way_back.shape == blocks_weight.shape
        way_back.data.copy_(blocks_weight.data)
    else:
        blocks_weight.data.copy_(rule._random(0, chain(net, "EProp")))
    proofs.assert_same(proofs.by(rule, net, mean_membrane), proofs.by(EProp(), net, mean_membrane))


def test_adaptive_feedback_forgets_what_it_differed_by(proofs: ModuleType, tmp_path: Path) -> None:
    """The same changes and the same decay, clipped or not: the difference to the output's weights only decays."""
    x, y = proofs.batch()
    samples = [(x[:, i].float(), int(y[i])) for i in range(5)]
    data = type("Data", (), {"train": samples, "validation": samples, "name": "five", "classes": tuple("abc")})()
    net = proofs.network(neuro.Linear(6, 7), neuro.Recurrent(neuro.LIF(7)), neuro.Linear(7, 3), neuro.LI(3)).float()
    rule, rate, decay = EProp(feedback="adaptive", seed=4), 0.05, 0.5
    made = rule.prepare(net).auxiliary
    assert made is not None
    (before,) = (p.detach() - net.get_parameter("2.weight").detach() for p in made.parameters())
    options: dict[str, Any] = {
        "epochs": 4,
        "batch_size": 2,
        "lr": rate,
        "weight_decay": decay,
        "schedule": "constant",
        "clip": 1e-2,
    }
    neuro.fit(net, data, rule, "mean_membrane", calibrated=True, progress=False, output=tmp_path / "run", **options)
    (kept,) = (tmp_path / "run").rglob("last.ckpt")
    held = torch.load(kept, weights_only=False)["state_dict"]
    after = held["auxiliary.0"] - held["net.2.weight"]
    assert float(before.abs().max()) > 0.1
    assert torch.allclose(after, before * (1 - rate * decay) ** 12, rtol=1e-4, atol=1e-5)


def test_deep_networks_learn_below_too(proofs: ModuleType) -> None:
    net = proofs.network(
        neuro.Linear(6, 7), neuro.LIF(7), neuro.Linear(7, 7), neuro.LIF(7), neuro.Linear(7, 3), neuro.LI(3)
    )
    for rule in (RTRL(), EProp(), EProp(feedback="random"), OTTT()):
        assert all(bool(g.any()) for g in proofs.by(rule, net, mean_membrane).values())
        assert set(proofs.by(rule, net, mean_membrane)) == set(proofs.by(SLTT(), net, mean_membrane))


def test_refusals_name_the_reason_and_a_rule_that_works(proofs: ModuleType) -> None:
    x, y = proofs.batch()
    coupled = proofs.network(neuro.Linear(6, 3), neuro.Recurrent(neuro.LIF(3)))
    with pytest.raises(InputError, match=r"layer '1' are coupled by recurrent synapses; use rule='eprop'"):
        RTRL().backward(coupled, x, y, spike_count)
    normalised = proofs.network(neuro.Linear(6, 3), neuro.BatchNorm(3), neuro.LIF(3))
    for rule in (OTTT(), RTRL(), EProp()):
        with pytest.raises(InputError, match=r"BatchNorm.*use rule='sltt'"):
            rule.backward(normalised, x, y, spike_count)
    with pytest.raises(InputError, match="use rule='ottt', whose traces also serve convolutions"):
        EProp().backward(proofs.network(neuro.Flatten(), neuro.Linear(6, 3), neuro.LIF(3)), x, y, spike_count)
    with pytest.raises(InputError, match="did you mean 'random'"):
        EProp(feedback="randm")
    with pytest.raises(InputError, match=r"call rule = rule\.prepare"):
        EProp(feedback="adaptive").backward(
            proofs.network(neuro.Linear(6, 4), neuro.LIF(4), neuro.Linear(4, 3), neuro.LI(3)), x, y, spike_count
        )
    with pytest.raises(InputError, match="chunk=0 must be a whole number"):
        RTRL(0)
