from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.synapses import sigma_schedule
from neuro.training.losses import Loss
from neuro.training.module import Best, Trainee
from neuro.training.recipe import Recipe


def test_one_epoch_is_the_bare_loop(toy: ModuleType) -> None:
    """Lightning adds nothing to the arithmetic."""
    data, ours, theirs = toy.make_data(), toy.make_net(), toy.make_net()
    neuro.fit(ours, data, epochs=1, batch_size=20, lr=0.01, cell_lr=0.02, weight_decay=0.1, clip=0.3, seed=4)
    trainee = Trainee(theirs, data, Recipe(batch_size=20, lr=0.01, cell_lr=0.02, weight_decay=0.1, clip=0.3, seed=4))
    neuro.calibrate(theirs, next(iter(trainee.train_dataloader()))[0])
    optimizer = trainee.configure_optimizers()
    for x, y in trainee.train_dataloader():
        optimizer.zero_grad()
        neuro.rules.BPTT().backward(theirs, x, y, neuro.losses.spike_count)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.3)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize(
    ("done", "best", "finished"), [(0, None, False), (5, 2, True), (5, 3, False), (9, 8, True), (8, 6, False)]
)
def test_when_a_run_is_finished(toy: ModuleType, done: int, best: int | None, finished: bool) -> None:
    trainee = Trainee(toy.make_net(), toy.make_data(), Recipe(epochs=9, patience=3))
    trainee.history = [{}] * done
    trainee.best = None if best is None else Best(best, (0.5, -1.0), {})
    assert trainee.finished == finished


def test_patience_stops_and_the_best_epoch_wins(toy: ModuleType) -> None:
    result = neuro.fit(toy.make_net(), toy.make_data(), epochs=40, lr=0.02, patience=3, schedule="constant")
    assert len(result.history) == result.best_epoch + 3 < 40
    scores = [(row["validation_accuracy"], -row["validation_loss"]) for row in result.history]
    assert scores.index(max(scores)) == result.best_epoch - 1
    assert result.validation_accuracy == result.history[result.best_epoch - 1]["validation_accuracy"]


def test_delays_grow_sharp_as_training_goes_on(toy: ModuleType, tmp_path: Path) -> None:
    def made() -> neuro.Sequential:
        torch.manual_seed(6)
        return neuro.Sequential(neuro.DelayedLinear(11, 3, 8e-3), neuro.LIF(3))

    net = made()
    result = neuro.fit(net, toy.make_data(), epochs=8, lr=0.01, output=tmp_path)
    (delayed,) = (m for m in net.modules() if isinstance(m, neuro.DelayedLinear))
    assert delayed.sigma == sigma_schedule(result.best_epoch - 1, 8, 8e-3)  # that of the epoch it is left with
    assert neuro.load(tmp_path / "network.safetensors").layers["0"].sigma == delayed.sigma
    assert not torch.equal(delayed.delay, made().get_submodule("0").delay)  # type: ignore[arg-type]


def test_selection_by_loss(toy: ModuleType) -> None:
    result = neuro.fit(toy.make_net(), toy.make_data(), epochs=12, lr=0.05, select="loss")
    losses = [row["validation_loss"] for row in result.history]
    assert losses.index(min(losses)) == result.best_epoch - 1


def test_the_learning_rate_follows_the_schedule(toy: ModuleType) -> None:
    result = neuro.fit(toy.make_net(), toy.make_data(), epochs=4, lr=0.01)
    rates = [row["learning_rate"] for row in result.history]
    assert rates == pytest.approx([0.01, 0.00853553, 0.005, 0.00146447], rel=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_epoch_batch_and_cure(toy: ModuleType, value: float) -> None:
    calls = iter(range(100))
    # Epoch 1 reads the output of its three batches twice, validates two (twice); then comes epoch 2.
    broken = Loss("broken", lambda output: output.sum(0) * (value if next(calls) == 12 else 1.0))
    with pytest.raises(
        InputError,
        match=r"the loss is (nan|inf) in epoch 2, batch 2: every layer is finite forward.*; lower lr \(0.01\) or clip",
    ):
        neuro.fit(toy.make_net(), toy.make_data(), loss=broken, batch_size=20, epochs=3)


def test_weights_that_no_gradient_reaches_are_reported(toy: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.Linear(11, 5), neuro.CuBaLIF(5), neuro.Linear(5, 3), neuro.LIF(3))
    with caplog.at_level(logging.WARNING):
        neuro.fit(net, toy.make_data(), "sltt", epochs=2)
    (record,) = (r for r in caplog.records if "no gradient" in r.getMessage())
    assert "no gradient reaches 0.weight under SLTT(chunk=64" in record.getMessage()
    assert "method='exponential'" in record.getMessage()


def test_what_a_checkpoint_remembers_of_the_data(toy: ModuleType) -> None:
    trainee = Trainee(toy.make_net(), toy.make_data(), Recipe())
    assert trainee.described() == {"name": "toy", "train": 53, "validation": 31}
