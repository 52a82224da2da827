from __future__ import annotations

import inspect
import json
from dataclasses import fields
from typing import Any

import pytest

import neuro
from neuro.errors import InputError
from neuro.training.recipe import SELECTIONS, Recipe
from neuro.training.rules import SLTT


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rule": "bppt"}, "did you mean 'bptt'"),
        ({"loss": "max_membran"}, "did you mean 'max_membrane'"),
        ({"schedule": "cos"}, "unknown schedule 'cos'"),
        ({"select": "acuracy"}, "did you mean 'accuracy'"),
        ({"epochs": 0}, "epochs=0 .* at least 1"),
        ({"epochs": 2.0}, "epochs=2.0"),
        ({"batch_size": True}, "batch_size=True"),
        ({"patience": 0}, "patience=0"),
        ({"seed": -1}, "seed=-1 .* at least 0"),
        ({"epochs": None}, "epochs=None"),
        ({"lr": 0}, "lr=0 .* above 0"),
        ({"lr": "0.1"}, "lr='0.1'"),
        ({"clip": float("inf")}, "clip=inf"),
        ({"cell_lr": -1e-3}, "cell_lr=-0.001"),
        ({"weight_decay": float("nan")}, "weight_decay=nan"),
    ],
)
def test_what_cannot_be_used_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Recipe(**options)


def test_what_may_be_zero_or_absent() -> None:
    Recipe(patience=None, cell_lr=0, weight_decay=0.0, seed=0)


def test_fit_has_the_same_options_with_the_same_defaults() -> None:
    offered = inspect.signature(neuro.fit).parameters
    for option in fields(Recipe):
        assert offered[option.name].default == option.default, option.name


def test_the_summary_is_plain() -> None:
    summary = Recipe(rule=SLTT(5), loss="mean_membrane", epochs=3).summary()
    assert json.loads(json.dumps(summary)) == summary
    assert (summary["rule"], summary["loss"], summary["epochs"]) == (repr(SLTT(5)), "mean_membrane", 3)
    assert Recipe(rule="sltt").summary() == Recipe(rule=SLTT()).summary()


def test_selections_break_ties_by_the_other_number() -> None:
    assert SELECTIONS["accuracy"](0.9, 0.1) > SELECTIONS["accuracy"](0.9, 0.2) > SELECTIONS["accuracy"](0.8, 0.0)
    assert SELECTIONS["loss"](0.9, 0.1) > SELECTIONS["loss"](0.8, 0.1) > SELECTIONS["loss"](1.0, 0.2)
