"""Covariance matrix adaptation: easy and badly scaled bowls, mirrored pairs, going on after a stop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from neuro.errors import FileFormatError, InputError
from neuro.evolution import CMAES, evolve


def test_a_sphere() -> None:
    best, course = evolve(lambda x: x.square().sum(1), CMAES(torch.full((10,), 2.0), 1.0, seed=1), 250)
    assert course[-1] < 1e-6
    assert float(best.square().sum()) == pytest.approx(min(course))


def test_a_long_turned_valley_is_learned() -> None:
    torch.manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))
    scale = torch.logspace(0, 4, 5, dtype=torch.float64)

    def valley(x: Tensor) -> Tensor:
        height: Tensor = (scale * (x @ turn).square()).sum(1)
        return height

    strategy = CMAES(torch.ones(5), 1.0, size=12, seed=2)
    _, course = evolve(valley, strategy, 400)
    assert course[-1] < 1e-6
    values = torch.linalg.eigvalsh(strategy.covariance)
    assert float(values[-1] / values[0]) > 100  # longest where the valley is flat


def test_the_step_size_drifts_nowhere_without_selection() -> None:
    logs = []
    for seed in range(5):
        strategy, g = CMAES(torch.zeros(10), 1.0, size=12, seed=seed), torch.Generator().manual_seed(seed)
        for _ in range(60):
            strategy.ask()
            strategy.tell(torch.rand(12, generator=g))
        logs.append(torch.tensor(strategy.sigma).log())
    assert abs(float(torch.stack(logs).mean())) < 0.5


def test_pairs_are_mirrored_and_asked_twice_the_same() -> None:
    strategy = CMAES(torch.arange(4.0), 0.3, size=8, seed=5)
    genomes = strategy.ask()
    assert torch.allclose(genomes[:4] + genomes[4:], 2 * strategy.mean.expand(4, 4))
    assert torch.equal(strategy.ask(), genomes)
    strategy.tell(genomes.sum(1))
    assert not torch.equal(strategy.ask(), genomes)
    assert float(strategy.mean.sum()) < 6
    assert not torch.equal(CMAES(torch.arange(4.0), 0.3, size=8, seed=6).ask(), genomes)


def test_the_fitness_of_the_ill_is_the_worst() -> None:
    strategy = CMAES(torch.zeros(3), 1.0, size=8)
    genomes = strategy.ask()
    fitness = torch.where(genomes[:, 0] > 0, torch.nan, 1.0)
    strategy.tell(fitness)
    assert float(strategy.mean[0]) < 0


def test_a_run_taken_up_again_is_the_run(tmp_path: Path) -> None:
    def bowl(x: Tensor) -> Tensor:
        return (x - 1).square().sum(1)

    whole = evolve(bowl, CMAES(torch.zeros(4), 0.5, seed=3), 25)
    path = tmp_path / "run.pt"
    evolve(bowl, CMAES(torch.zeros(4), 0.5, seed=3), 10, checkpoint=path)
    best, course = evolve(bowl, CMAES(torch.ones(4), 0.1, seed=3), 25, checkpoint=path)
    assert course == whole[1]
    assert torch.equal(best, whole[0])


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"start must be finite, \[G\]"):
        CMAES(torch.zeros(2, 2), 1.0)
    with pytest.raises(InputError, match="size must be even"):
        CMAES(torch.zeros(2), 1.0, size=7)
    with pytest.raises(InputError, match=r"fitness must be \[6\]"):
        CMAES(torch.zeros(2), 1.0, size=6).tell(torch.zeros(5))
    with pytest.raises(InputError, match="the state must be of"):
        CMAES(torch.zeros(2), 1.0, size=6).load_state_dict(CMAES(torch.zeros(3), 1.0, size=6).state_dict())
    (tmp_path / "x.pt").write_bytes(b"no")
    with pytest.raises(FileFormatError, match="no checkpoint of this run"):
        evolve(lambda x: x.sum(1), CMAES(torch.zeros(2), 1.0), 2, checkpoint=tmp_path / "x.pt")
