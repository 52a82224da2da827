"""SpikeGPT."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

from neuro.architectures import spike_gpt, spike_gpt_block
from neuro.errors import InputError

TOKENS = torch.randint(0, 11, (9, 3), generator=torch.Generator().manual_seed(0))


def test_laws(laws: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = laws.stirred(spike_gpt(11, 6, 2), by=0.5)
    assert laws.check(net, TOKENS, tmp_path).shape == (9, 3, 11)


def test_parameters_of_the_checkpoint(laws: ModuleType) -> None:
    def count(tokens: int, c: int, layers: int) -> int:
        block = 4 * c * c + 5 * c + 9 * c * c + 2 * c + 4 * c
        return layers * block + 2 * tokens * c + 4 * c

    for sizes in ((11, 6, 2), (5, 16, 3)):
        assert laws.parameters(spike_gpt(*sizes)) == count(*sizes)
    assert round(count(50277, 768, 18) / 1e6) == 215  # "216M"


def test_later_tokens_change_nothing_before(laws: ModuleType) -> None:
    net = laws.stirred(spike_gpt(11, 6, 2), by=0.5).eval()
    y, _ = net(TOKENS)
    changed = TOKENS.clone()
    changed[5:] = 10 - changed[5:]
    z, _ = net(changed)
    assert torch.equal(z[:5], y[:5])
    assert not torch.equal(z[5:], y[5:])


def test_it_begins_with_its_input_passed_on() -> None:
    x = torch.randn(5, 2, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(spike_gpt_block(8).eval()(x)[0], x)


def test_bad_sizes_are_named() -> None:
    with pytest.raises(InputError, match="spike_gpt layers must be"):
        spike_gpt(layers=0)
    with pytest.raises(InputError, match="SRWKV depth must be from 0 to below layers=2"):
        spike_gpt_block(8, depth=2, layers=2)
    with pytest.raises(InputError, match="SpikingEmbedding knows tokens 0 to 10, got 3 to 11"):
        spike_gpt(11, 8, 1)(torch.tensor([[3, 11]]))
