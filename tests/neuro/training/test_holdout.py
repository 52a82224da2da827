"""Data without a validation split get one, named, the same each time; selecting on the test split is said."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import ModuleType

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.training.holdout import hold_out


def test_the_parts_are_the_whole_and_named(toy: ModuleType) -> None:
    data = toy.make_data()
    made = hold_out(data, share=0.2, seed=3)
    both = torch.cat([made.train.indices, made.validation.indices])
    assert sorted(both.tolist()) == list(range(53))
    assert len(made.validation) == 11
    assert made.name == "toy (validation: 11 of 53 training samples held out, seed 3)"
    x, y = made.validation.tensors()
    for column in (0, 10):
        frames, label = made.validation[column]
        assert torch.equal(frames, x[:, column])
        assert label == int(y[column])
    assert torch.equal(hold_out(data, 0.2, 3).validation.indices, made.validation.indices)
    assert not torch.equal(hold_out(data, 0.2, 4).validation.indices, made.validation.indices)
    assert not hasattr(hold_out(replace(data, train=toy.Streamed(data.train))).train, "tensors")


def test_a_picture_shown_for_many_steps_is_not_copied(toy: ModuleType) -> None:
    data = toy.make_data()
    data.train.x = data.train.x[:1].expand(17, -1, -1)
    x, _ = hold_out(data).train.tensors()
    assert x.stride(0) == 0


@pytest.mark.parametrize("share", [0.0, 1.0, 0.001])
def test_an_empty_part_is_refused(toy: ModuleType, share: float) -> None:
    with pytest.raises(InputError, match="leaves one part empty"):
        hold_out(toy.make_data(), share)


def test_fit_holds_out_and_says_so(toy: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    data = replace(toy.make_data(), validation=None)
    with caplog.at_level(logging.WARNING):
        result = neuro.fit(toy.make_net(), data, epochs=1)
    assert "toy has no validation split: the epoch is chosen on 5 of its 53 training samples" in caplog.text
    assert result.selected_on == "validation"


def test_choosing_on_the_test_split_is_said(toy: ModuleType) -> None:
    data = replace(toy.make_data(), validation=toy.Held(10, 7), test=toy.Held(31, 2))
    chosen = neuro.fit(toy.make_net(), data, epochs=2, select_on="test")
    usual = neuro.fit(toy.make_net(), toy.make_data(), epochs=2)
    assert chosen.selected_on == "test"
    assert chosen.validation_accuracy == usual.validation_accuracy
    with pytest.raises(InputError, match="split to select on 'train'"):
        neuro.fit(toy.make_net(), data, select_on="train")
