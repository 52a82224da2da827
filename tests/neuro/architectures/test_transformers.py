"""Spiking transformers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

import neuro
from neuro.architectures import sdsa_block, spike_driven_transformer, spikformer, ssa_block
from neuro.errors import InputError

X = torch.rand(3, 2, 2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_laws_of_spikformer(laws: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = laws.stirred(spikformer((2, 8, 8), 3, features=16, depth=1, heads=2), by=0.3, lift=2.0)
    assert laws.check(net, 2 * X, tmp_path).shape == (3, 2, 3)
    laws.check_fold(net, 2 * X)


def test_laws_of_the_spike_driven_transformer(laws: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = laws.stirred(spike_driven_transformer((2, 16, 16), 3, features=16, depth=1), by=0.3)
    x = torch.rand(3, 2, 2, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert laws.check(net, 2 * x, tmp_path).shape == (3, 2, 3)
    laws.check_fold(net, 2 * x)


def test_parameters_of_the_papers(laws: ModuleType) -> None:
    assert laws.parameters(spikformer()) == 9_324_730  # 9.32 M there
    d = 512
    block = 3 * d * d + 6 * d + d * d + 3 * d + 8 * d * d + 4 * d + d + 10 * d
    stem = 9 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 512) + 2 * (64 + 128 + 256 + 512 + 512)
    assert laws.parameters(spike_driven_transformer()) == 8 * block + stem + 513 * 1000 == 29_689_384  # 29.68 M there


def test_every_weight_of_the_spike_driven_block_sees_spikes(laws: ModuleType) -> None:
    torch.manual_seed(0)
    net = laws.stirred(sdsa_block(8, 6), by=0.4).train()
    seen: list[torch.Tensor] = []
    for layer in net.modules():
        if isinstance(layer, neuro.Conv1d):
            layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    net(3 * torch.randn(5, 2, 8, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    assert len(seen) == 6
    assert all(bool(((x == 0) | (x == 1)).all()) for x in seen)
    assert any(bool(x.any()) for x in seen[3:])


def test_attention_reads_all_tokens_and_no_other_sample(laws: ModuleType) -> None:
    torch.manual_seed(0)
    net = laws.stirred(ssa_block(8, 6, heads=2), by=0.4, lift=2.0).train()
    x = (torch.rand(5, 2, 8, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) < 0.5).double()
    net(x)
    net.eval()
    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(net(leaf)[0][-1, 0, :, 2].sum(), leaf)
    assert bool(grad[:, 0].abs().sum((0, 1)).all())
    assert not grad[:, 1].any()


def test_bad_sizes_are_named() -> None:
    with pytest.raises(InputError, match="ssa_block heads must divide its 8 features, got 3"):
        ssa_block(8, 4, heads=3)
    with pytest.raises(InputError, match="sdsa_block tokens must be"):
        sdsa_block(8, 0)
    for build in (spikformer, spike_driven_transformer):
        with pytest.raises(InputError, match="features must be a multiple of 8, got 12"):
            build(features=12)
