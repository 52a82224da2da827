"""The audit: cosine and norm of a rule's gradient against BPTT's, nothing touched."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from types import ModuleType

import pytest
import torch

import neuro
from neuro.training.audit import audit_gradients


def made() -> tuple[neuro.Sequential, torch.Tensor, torch.Tensor]:
    torch.manual_seed(5)
    net = neuro.Sequential(neuro.Linear(8, 10), neuro.LIF(10), neuro.Linear(10, 4), neuro.LI(4))
    x, y = (torch.rand(25, 6, 8) < 0.3).float(), torch.arange(6) % 4
    neuro.calibrate(net, x)
    return net, x, y


@pytest.mark.parametrize("rule", ["sltt", "decolle"])
def test_by_hand_and_without_a_trace(rule: str) -> None:
    net, x, y = made()
    net.get_parameter("0.bias").grad = torch.ones(10)
    weights = [p.detach().clone() for p in net.parameters()]
    state = torch.get_rng_state()
    audit = audit_gradients(net, x, y, rule, "mean_membrane")
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(weights, net.parameters(), strict=True))
    assert [n for n, p in net.named_parameters() if p.grad is not None] == ["0.bias"]
    net.zero_grad()
    grads = []
    for each in (neuro.rules.RULES[rule](), neuro.rules.BPTT()):
        net.zero_grad()
        each.backward(net, x, y, neuro.losses.mean_membrane)
        grads.append({n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None})
    rows = {row.name: row for row in audit.rows}
    assert rows.keys() == dict(net.named_parameters()).keys()
    for name in ("0.weight", "2.weight"):
        a, b = (g[name].flatten().double() for g in grads)
        assert rows[name].cosine == pytest.approx(float(torch.cosine_similarity(a, b, 0)), abs=1e-6)
        assert rows[name].norm == pytest.approx(float(a.norm()), rel=1e-6)
        assert rows[name].norm_bptt == pytest.approx(float(b.norm()), rel=1e-6)
    assert rows["0.weight"].cosine < 0.999
    assert "0.weight" in str(audit)


def test_bptt_is_its_own_image_and_a_silent_layer_has_no_angle() -> None:
    net, x, y = made()
    assert all(row.cosine == pytest.approx(1.0) for row in audit_gradients(net, x, y, "bptt", "last_membrane").rows)
    rows = audit_gradients(net, x, y, "drtp", "last_membrane").rows
    assert any(math.isnan(row.cosine) == (row.norm == 0 or row.norm_bptt == 0) for row in rows)


def test_fit_audits_the_first_batch_of_every_epoch(toy: ModuleType, tmp_path: Path) -> None:
    plain, audited = toy.make_net(), toy.make_net()
    neuro.fit(plain, toy.make_data(), "sltt", epochs=2)
    result = neuro.fit(audited, toy.make_data(), "sltt", epochs=2, audit=True, output=tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), audited.parameters(), strict=True))
    assert [epoch for epoch, _ in result.audits] == [1, 2]
    rows = list(csv.DictReader((tmp_path / "gradients.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1"] * 6 + ["2"] * 6
    assert float(rows[0]["cosine"]) == result.audits[0][1].rows[0].cosine
