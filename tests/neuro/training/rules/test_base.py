"""What every rule says of itself."""

from __future__ import annotations

import pytest
import torch

from neuro.training.rules import RULES
from neuro.training.rules.base import detached


@pytest.mark.parametrize("name", RULES)
def test_every_rule_names_paper_cost_and_where_it_is_exact(name: str) -> None:
    about = RULES[name].about
    assert any(year in about.paper for year in map(str, range(1980, 2027)))
    for text in (about.memory, about.time, about.needs, about.exact):
        assert len(text) > 3


def test_detached_states_keep_their_nest() -> None:
    x = torch.ones(2, requires_grad=True)
    made = detached(((x * 2, None), (), (x,)))
    assert [type(part) for part in made] == [tuple, tuple, tuple]
    assert not made[0][0].requires_grad
    assert made[0][1] is None
