"""Nodes of several inputs."""

from __future__ import annotations

import pytest
import torch

import neuro
from neuro.errors import InputError


def test_concatenation_and_product() -> None:
    a, b, c = torch.rand(3, 2, 1, 5), torch.rand(3, 2, 4, 5), torch.rand(3, 2, 2, 5)
    assert torch.equal(neuro.Concatenate(3)(a, b, c), torch.cat([a, b, c], 2))
    assert torch.equal(neuro.Multiply(3)(b, b, b), b**3)
    assert neuro.Concatenate(3).definition() == {"inputs": 3}


def test_what_does_not_fit_is_named() -> None:
    for made in (neuro.Concatenate, neuro.Multiply):
        with pytest.raises(InputError, match="whole number from 2 on, got 1"):
            made(1)
    with pytest.raises(InputError, match="differ in their third size only"):
        neuro.Concatenate(2)(torch.zeros(3, 2, 4), torch.zeros(2, 2, 4))
    with pytest.raises(InputError, match="of one shape"):
        neuro.Multiply(2)(torch.zeros(3, 2, 4), torch.zeros(3, 2, 3))
