from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from neuro.errors import InputError
from neuro.training import batches as module
from neuro.training.batches import Batches, batches, epoch_seed, sample_order


def test_order_is_a_pure_function_of_seed_and_epoch() -> None:
    torch.manual_seed(1)
    first = sample_order(1000, seed=3, epoch=4)
    torch.rand(17)
    assert torch.equal(first, sample_order(1000, seed=3, epoch=4))
    assert not torch.equal(first, sample_order(1000, seed=3, epoch=5))
    assert not torch.equal(first, sample_order(1000, seed=4, epoch=3))
    assert first.sort().values.tolist() == list(range(1000))


def test_seeds_of_neighbours_differ() -> None:
    seeds = {epoch_seed(seed, epoch) for seed in range(30) for epoch in range(30)}
    assert len(seeds) == 900


def test_held_data_come_in_order_and_whole(toy: ModuleType) -> None:
    held = toy.Held(53, 1)
    made = batches(held, 20, seed=7, epoch=lambda: 2)
    assert isinstance(made, Batches)
    assert len(made) == 3
    parts = list(made)
    assert [x.shape for x, _ in parts] == [(17, 20, 11), (17, 20, 11), (17, 13, 11)]
    order = sample_order(53, seed=7, epoch=2)
    assert torch.equal(torch.cat([x for x, _ in parts], dim=1), held.x[:, order])
    assert torch.equal(torch.cat([y for _, y in parts]), held.y[order])


@pytest.mark.parametrize("seed", [None, 7])
def test_streamed_data_are_the_same_batches(toy: ModuleType, seed: int | None) -> None:
    held = toy.Held(23, 1)
    streamed = batches(toy.Streamed(held), 10, seed=seed, epoch=lambda: 5)
    assert isinstance(streamed, DataLoader)
    assert len(streamed) == 3
    for (x, y), (x2, y2) in zip(streamed, batches(held, 10, seed=seed, epoch=lambda: 5), strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)
        assert y.dtype == torch.int64


def test_the_epoch_is_asked_for_at_each_pass(toy: ModuleType) -> None:
    epoch = 0
    made = batches(toy.Held(23, 1), 23, seed=0, epoch=lambda: epoch)
    first = next(iter(made))[1]
    epoch = 1
    assert not torch.equal(first, next(iter(made))[1])


def test_large_data_are_not_held(toy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HELD_BYTES", 17 * 11 * 4 * 23 - 1)
    assert isinstance(batches(toy.Held(23, 1), 5), DataLoader)
    assert isinstance(batches(toy.Held(22, 1), 5), Batches)


def test_a_tensor_dataset_is_a_plain_dataset(toy: ModuleType) -> None:
    held = toy.Held(6, 1)
    x, y = next(iter(batches(TensorDataset(held.x.transpose(0, 1), held.y), 4)))
    assert torch.equal(x, held.x[:, :4])
    assert torch.equal(y, held.y[:4])


def test_held_data_take_dtype_and_device(toy: ModuleType) -> None:
    x, y = next(iter(batches(toy.Held(6, 1), 4, like=torch.zeros(1, dtype=torch.float64))))
    assert x.dtype == torch.float64
    assert y.dtype == torch.int64


@pytest.mark.parametrize("size", [0, -1, 2.5, "8"])
def test_batch_size_is_checked(toy: ModuleType, size: int) -> None:
    with pytest.raises(InputError, match="batch_size="):
        batches(toy.Held(6, 1), size)


def test_an_empty_split_is_refused(toy: ModuleType) -> None:
    with pytest.raises(InputError, match="no sample"):
        batches(toy.Held(0, 1), 4)


def test_samples_of_different_lengths_are_padded_and_their_lengths_told() -> None:
    samples = [(torch.full((steps, 2), float(steps)), steps % 3) for steps in (4, 2, 4, 4, 1)]
    (x, y, lengths), (rest, *_) = batches(samples, 3)
    assert lengths.tolist() == [4, 2, 4]
    assert x.shape == (4, 3, 2)
    assert y.tolist() == [1, 2, 1]
    assert torch.equal(x[:2, 1], torch.full((2, 2), 2.0))
    assert not bool(x[2:, 1].any())
    assert rest.shape == (4, 2, 2)
    assert len(next(iter(batches(samples[2:4], 2)))) == 2


def test_pictures_shown_for_many_steps_are_batched_without_a_copy_of_all() -> None:
    pictures, order = torch.rand(5, 3), torch.tensor([4, 0, 2, 1, 3])
    shown = Batches(pictures.expand(7, 5, 3), torch.arange(5), 2, lambda: order)
    for (x, y), index in zip(shown, order.split(2), strict=True):
        assert torch.equal(x, pictures[index].expand(7, len(index), 3))
        assert torch.equal(y, index)
