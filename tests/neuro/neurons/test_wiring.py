"""Wirings have the layers, fans and numbers of synapses that their definition promises."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.neurons.wiring import WIRINGS, Wiring, wiring_of


def policy(**options: Any) -> neuro.NCP:
    sizes: Any = {"inter": 11, "command": 7, "motor": 3, "sensory_fanout": 4, "inter_fanout": 3}
    return neuro.NCP(**{**sizes, "recurrent_command_synapses": 9, "motor_fanin": 2, **options})


def test_the_four_layers_are_connected_in_order_only() -> None:
    wiring = policy(seed=5)
    motor, command, inter = range(3), range(3, 10), range(10, 21)
    internal, sensory = wiring.internal(), wiring.sensory(20)
    assert (internal.shape, sensory.shape) == ((21, 21), (20, 21))
    assert set(internal.unique().tolist()) == set(sensory.unique().tolist()) == {-1, 0, 1}
    allowed = torch.zeros(21, 21, dtype=torch.bool)
    for pre, post in ((inter, command), (command, command), (command, motor)):
        allowed[pre.start : pre.stop, post.start : post.stop] = True
    assert not bool(internal[~allowed].any())
    assert not bool(sensory[:, : inter.start].any())


def test_every_source_has_its_fan_and_every_target_a_source() -> None:
    wiring = policy()
    internal, sensory = wiring.internal() != 0, wiring.sensory(20) != 0
    assert (sensory.sum(1) == 4).all()  # 20 inputs reach all 11 inter neurons without help
    assert (internal[10:, 3:10].sum(1) == 3).all()
    assert 1 <= int(internal[3:10, 3:10].sum()) <= 9  # drawn with replacement
    assert sensory[:, 10:].any(0).all()
    assert internal[10:, 3:10].any(0).all()
    assert internal[3:10, :3].any(1).all()


def test_targets_that_no_source_chose_get_the_average_fan_in() -> None:
    wiring = policy(inter=30, sensory_fanout=2)
    sensory = wiring.sensory(3) != 0
    assert sensory[:, 10:].any(0).all()
    assert sensory[:, 10:].sum(0).max() <= 3
    assert 30 <= int(sensory.sum()) <= 6 + 28  # 3 * 2 synapses, and one for each of at most 28 left out


@pytest.mark.parametrize(("units", "motor", "sizes"), [(28, 4, (15, 9, 4)), (19, 3, (10, 6, 3)), (8, 5, (2, 1, 5))])
def test_auto_ncp_sizes(units: int, motor: int, sizes: tuple[int, int, int]) -> None:
    wiring = neuro.AutoNCP(units, motor)
    assert (wiring.inter, wiring.command, wiring.motor) == sizes
    assert wiring.units == units
    assert wiring.internal().shape == (units, units)


def test_auto_ncp_28_has_the_published_number_of_synapses() -> None:
    wiring = neuro.AutoNCP(28, 4)
    assert int(wiring.sensory(20).count_nonzero()) == 140  # 20 inputs, fan-out 7
    # 15 inter neurons of fan-out 4, 4 motor neurons of fan-in 4, commands nobody hears, up to 9 recurrent ones
    assert 76 < int(wiring.internal().count_nonzero()) <= 90


def test_density_follows_the_sparsity() -> None:
    dense, sparse = neuro.AutoNCP(60, 10, sparsity=0.1), neuro.AutoNCP(60, 10, sparsity=0.9)
    assert int(dense.internal().count_nonzero()) > 4 * int(sparse.internal().count_nonzero())


def test_fully_connected_has_two_excitatory_of_three() -> None:
    wiring = neuro.FullyConnected(80, motor=7)
    assert wiring.motor == 7
    assert bool((wiring.internal() != 0).all())
    assert float((wiring.internal() > 0).float().mean()) == pytest.approx(2 / 3, abs=0.02)
    assert not torch.equal(wiring.internal(), wiring.sensory(80))


@pytest.mark.parametrize("wiring", [policy(seed=3), neuro.FullyConnected(5, 2, seed=9)], ids=lambda w: type(w).__name__)
def test_the_seed_decides_and_the_definition_rebuilds(wiring: Wiring) -> None:
    again = wiring_of(wiring.definition())
    assert again == wiring
    assert torch.equal(again.internal(), wiring.internal())
    other = wiring_of(wiring.definition() | {"seed": 10})
    assert not torch.equal(other.internal(), wiring.internal())
    assert not torch.equal(other.sensory(30), wiring.sensory(30))
    assert type(wiring).__name__ in WIRINGS


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: policy(inter=0), "inter must be an integer from 1 on, got 0"),
        (lambda: policy(sensory_fanout=12), r"sensory_fanout must be in 1..11, the size of its layer, got 12"),
        (lambda: policy(motor_fanin=0), "motor_fanin must be in 1..7"),
        (lambda: policy(recurrent_command_synapses=-1), "recurrent_command_synapses must be"),
        (lambda: neuro.AutoNCP(6, 4), "units, with 4 motor neurons, must be an integer from 7 on, got 6"),
        (lambda: neuro.AutoNCP(28, 4, sparsity=1.0), r"sparsity must be in \[0.1, 0.9\], got 1.0"),
        (lambda: neuro.FullyConnected(3, 4), r"motor must be in 1..3"),
        (lambda: neuro.FullyConnected(0), "units must be"),
        (lambda: wiring_of({"type": "NPC"}), "unknown wiring 'NPC'; did you mean 'NCP'"),
    ],
)
def test_bad_wirings_are_refused(make: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()
