"""Spiking controllers: the batch against each alone, steps against a sequence, symmetry, and evolution after P and PID."""

from __future__ import annotations

import pytest
import torch

from neuro.errors import InputError
from neuro.evolution import BLIMP, CMAES, PID, SpikingController, closed_loop, evolve, mimicry


def errors(time: int = 60, batch: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(time, batch, generator=torch.Generator().manual_seed(seed)).cumsum(0) / 5


def test_each_controller_is_alone_and_steps_are_the_sequence() -> None:
    genomes = torch.randn(5, 15, generator=torch.Generator().manual_seed(1))
    e = errors()
    controllers = SpikingController(genomes, dt=0.05, substeps=3)
    whole, state = controllers(e)
    assert float(whole.abs().max()) > 0
    for k in range(5):
        alone, _ = SpikingController(genomes[k : k + 1], dt=0.05, substeps=3)(e)
        assert torch.allclose(whole[..., k : k + 1], alone, atol=1e-5)
    now = controllers.rest(2)
    for given, wanted in zip(e, whole, strict=True):
        u, now = controllers.step(given.unsqueeze(1).expand(2, 5), now)
        assert torch.allclose(u, wanted, atol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(now, state, strict=True))


def test_opposite_errors_are_answered_oppositely() -> None:
    genomes = torch.randn(3, 20, generator=torch.Generator().manual_seed(2))
    e = errors()
    there, back = (SpikingController(genomes, dt=0.05)(sign * e)[0] for sign in (1, -1))
    assert torch.allclose(there, -back, atol=1e-4)
    assert float(there.abs().max()) <= 10


def test_mimicry_by_hand() -> None:
    target = errors()
    command = torch.stack([target, -target, target + 1, 2 * target], 2)
    variance = float(target.var(correction=0))
    power = float(target.square().mean())
    wanted = [0, 4 * power / variance + 2, 1 / variance, power / variance]
    assert mimicry(command, target).tolist() == pytest.approx(wanted, abs=1e-4)


def test_evolution_after_a_proportional_controller() -> None:
    e = errors(150, 3)

    def fitness(genomes: torch.Tensor) -> torch.Tensor:
        return mimicry(SpikingController(genomes, dt=1 / 30)(e)[0], e)

    start = torch.randn(20, generator=torch.Generator().manual_seed(4)) / 2
    best, course = evolve(fitness, CMAES(start, 0.5, size=16), 100)
    assert course[-1] < course[0] / 2
    unseen = errors(150, 3, seed=9)
    made, _ = SpikingController(best.unsqueeze(0), dt=1 / 30)(unseen)
    assert float(torch.corrcoef(torch.stack([made.flatten(), unseen.flatten()]))[0, 1]) >= 0.95


def test_it_flies_in_a_batch_of_courses_and_controllers() -> None:
    controllers = SpikingController(torch.zeros(4, 10), dt=BLIMP.dt)
    wanted = torch.ones(5, 2, 4)
    heights, commands = closed_loop(BLIMP, controllers.step, controllers.rest(2), wanted)
    assert heights.shape == commands.shape == (5, 2, 4)
    assert PID().dt == BLIMP.dt


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match=r"genomes must be \[P, 5 \* pairs\]"):
        SpikingController(torch.zeros(2, 7), dt=0.1)
    with pytest.raises(InputError, match="substeps must be at least 1"):
        SpikingController(torch.zeros(2, 5), dt=0.1, substeps=0)
    with pytest.raises(InputError, match=r"error must be \[T, B\]"):
        SpikingController(torch.zeros(2, 5), dt=0.1)(torch.zeros(3, 1, 3))
    with pytest.raises(InputError, match="command and target"):
        mimicry(torch.zeros(3, 1, 2), torch.zeros(4, 1))
    with pytest.raises(InputError, match="target must vary"):
        mimicry(torch.zeros(3, 1, 2), torch.zeros(3, 1))
