"""What a rule makes of the gradient: its update beside that of BPTT, layer by layer."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuro.training.losses import Loss, choose_loss
from neuro.training.rules import BPTT, Rule, choose_rule

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["Audit", "AuditRow", "audit_gradients"]


@dataclass(frozen=True)
class AuditRow:
    """One parameter.

    Args:
        name: of the parameter, with that of its layer.
        cosine: of the angle between the gradient of the rule and that of BPTT; NaN where one of them is zero.
        norm: of the rule's gradient.
        norm_bptt: of BPTT's.
    """

    name: str
    cosine: float
    norm: float
    norm_bptt: float


@dataclass(frozen=True)
class Audit:
    """The gradient of a rule against that of BPTT on one batch; ``print`` it for a table.

    Args:
        rule: the rule, as it describes itself.
        rows: one for each parameter that learns.
    """

    rule: str
    rows: tuple[AuditRow, ...]

    def __str__(self) -> str:
        wide = max(len("parameter"), *(len(row.name) for row in self.rows))
        lines = [f"gradient of {self.rule} against BPTT", f"{'parameter':<{wide}}  cosine       norm  norm of BPTT"]
        lines += [f"{r.name:<{wide}}  {r.cosine:6.3f}  {r.norm:9.3g}  {r.norm_bptt:12.3g}" for r in self.rows]
        return "\n".join(lines)


def audit_gradients(net: Network, x: Tensor, y: Tensor, rule: str | Rule, loss: str | Loss = "spike_count") -> Audit:
    """Compare a rule's gradient with that of BPTT on a batch of one's own.

    The network, its ``.grad`` and the random numbers of the caller stay as they are. A rule that learns a direction of its
    own (Hebbian, local) need not agree with BPTT; a cosine near 0 in a rule that approximates BPTT is a
    warning, one below 0 a sign that the layer learns the wrong thing.

    Args:
        net: the network.
        x: ``[T, B, ...]``.
        y: ``[B]`` int64.
        rule: the rule, or its name.
        loss: the loss, or its name.

    Raises:
        InputError: what the rule or the loss refuses.

    >>> import neuro
    >>> net = neuro.Sequential(neuro.Linear(4, 3), neuro.LI(3))
    >>> print(audit_gradients(net, torch.ones(6, 2, 4), torch.tensor([0, 2]), "bptt", "last_membrane").rows[0].cosine)
    1.0
    """
    chosen, judged = choose_rule(rule), choose_loss(loss)
    ours, theirs = (_gradients(net, x, y, each, judged) for each in (chosen, BPTT()))
    rows = []
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            a, b = (g.get(name, torch.zeros_like(parameter)).double().flatten() for g in (ours, theirs))
            norm, norm_bptt = float(a.norm()), float(b.norm())
            both = norm > 0 and norm_bptt > 0
            cosine = max(-1.0, min(1.0, float(a @ b) / (norm * norm_bptt))) if both else math.nan
            rows.append(AuditRow(name, cosine, norm, norm_bptt))
    return Audit(repr(chosen), tuple(rows))


def _gradients(net: Network, x: Tensor, y: Tensor, rule: Rule, loss: Loss) -> dict[str, Tensor]:
    """On a copy, with the random numbers that the next step would draw."""
    twin = copy.deepcopy(net)
    twin.zero_grad(set_to_none=True)
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        rule.prepare(twin).backward(twin, x, y, loss)
    return {name: p.grad for name, p in twin.named_parameters() if p.grad is not None}
