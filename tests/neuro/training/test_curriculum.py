"""Curricula: which heads are asked, when the next stage begins, and runs that go on where they stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import neuro
from neuro.datasets.memory_tasks import parity
from neuro.errors import FileFormatError, InputError
from neuro.training.curriculum import Curriculum, Promotion, teach

BRIEF: dict[str, Any] = {"budget": 400, "check_every": 50, "batch_size": 32, "checked": 200}


def signed(stages: Sequence[int], batch: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x, y = parity(stages, batch, generator=generator)
    return 2 * x - 1, y


def make_net(heads: int = 3, units: int = 48) -> neuro.Sequential:
    torch.manual_seed(0)
    return neuro.Sequential(neuro.LeakyRNN(1, units), neuro.Linear(units, 2 * heads))


def weights(net: neuro.Sequential) -> list[Tensor]:
    return [value.clone() for value in net.state_dict().values()]


@pytest.mark.parametrize(
    ("heads", "asked"),
    [
        ("single", [(2,), (5,), (9,), (12,)]),
        ("multi", [(2,), (2, 5), (2, 5, 9), (2, 5, 9, 12)]),
        ("sliding", [(2,), (2, 5), (5, 9), (9, 12)]),
    ],
)
def test_which_heads_are_asked(heads: str, asked: list[tuple[int, ...]]) -> None:
    curriculum = Curriculum((2, 5, 9, 12), heads=heads, window=2)
    assert [curriculum.asked(k) for k in range(4)] == asked


def test_promotion_asks_the_newest_and_the_mean() -> None:
    curriculum = Curriculum((2, 3, 4), promote_at=0.9)
    assert curriculum.promotes([0.85, 0.95, 0.95])
    assert not curriculum.promotes([1.0, 1.0, 0.9])
    assert not curriculum.promotes([0.7, 0.95, 0.95])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"stages": ()}, r"stages=\(\)"),
        ({"stages": (2, 2)}, r"stages=\(2, 2\)"),
        ({"stages": (2,), "heads": "mutli"}, "unknown heads 'mutli'; did you mean 'multi'"),
        ({"stages": (2,), "promote_at": 1.0}, r"promote_at=1\.0"),
        ({"stages": (2,), "window": 0}, "window=0"),
    ],
)
def test_refuses_what_is_no_curriculum(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Curriculum(**arguments)


def test_many_heads_remember_and_each_promotion_is_on_record() -> None:
    net = make_net()
    lesson = teach(net, signed, Curriculum((1, 2, 3)), note=lambda n: {"one": 1.0}, **BRIEF | {"budget": 1000})
    assert lesson.finished
    assert [row.stage for row in lesson.promotions] == [1, 2, 3]
    assert [len(row.accuracy) for row in lesson.promotions] == [1, 2, 3]
    assert min(lesson.promotions[-1].accuracy) > 0.95
    assert [row.step for row in lesson.promotions] == sorted({row.step for row in lesson.promotions})
    assert lesson.promotions[-1].step == lesson.steps == 50 * len(lesson.accuracy)
    assert lesson.promotions[0].noted == {"one": 1.0}


def test_a_step_follows_the_sum_of_the_losses_of_the_heads_asked() -> None:
    x, y = signed((1, 3), 16, generator=torch.Generator().manual_seed(1))

    def held(stages: Sequence[int], batch: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return x, y[:, : len(stages)]

    net, twin = make_net(heads=2), make_net(heads=2)
    still = torch.optim.SGD(net.parameters(), 0.0)  # so that .grad of the last step is that of the first weights
    lesson = teach(net, held, Curriculum((1, 3), promote_at=0.0), budget=2, check_every=1, clip=1e9, optimizer=still)
    assert lesson.promotions[0].step == 1
    made = twin(x)[0][-1]
    (functional.cross_entropy(made[:, :2], y[:, 0]) + functional.cross_entropy(made[:, 2:], y[:, 1])).backward()
    for (name, ours), theirs in zip(net.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, msg=name)


def test_single_heads_are_asked_alone_and_leave_the_others_as_they_are() -> None:
    net = make_net()
    head = net.layers["1"].get_parameter("weight")
    before = head.detach().clone()
    lesson = teach(net, signed, Curriculum((1, 2, 3), heads="single"), **BRIEF | {"budget": 100})
    changed = [not torch.equal(a, b) for a, b in zip(head.detach().split(2), before.split(2), strict=True)]
    assert changed == [True, len(lesson.promotions) > 0 and lesson.promotions[0].step < 100, False]


def test_a_run_that_stopped_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    curriculum, whole, parts = Curriculum((1, 2, 3)), make_net(), make_net()
    lesson = teach(whole, signed, curriculum, **BRIEF | {"budget": 250})
    teach(parts, signed, curriculum, output=tmp_path, **BRIEF | {"budget": 150})
    again = make_net()
    torch.manual_seed(77)
    assert teach(again, signed, curriculum, output=tmp_path, resume=True, **BRIEF | {"budget": 250}) == lesson
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(again), strict=True))
    assert isinstance(lesson.promotions[0], Promotion)
    assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(77)))


def test_refuses_a_checkpoint_of_another_run(tmp_path: Path) -> None:
    curriculum = Curriculum((1, 2, 3))
    teach(make_net(), signed, curriculum, output=tmp_path, **BRIEF | {"budget": 50})
    with pytest.raises(InputError, match="set resume"):
        teach(make_net(), signed, curriculum, output=tmp_path, **BRIEF)
    going_on: dict[str, Any] = {"output": tmp_path, "resume": True}
    with pytest.raises(InputError, match="was trained with batch_size=32, not 16"):
        teach(make_net(), signed, curriculum, **going_on, **BRIEF | {"batch_size": 16})
    with pytest.raises(InputError, match="was trained with heads='multi', not 'single'"):
        teach(make_net(), signed, Curriculum((1, 2, 3), heads="single"), **going_on, **BRIEF)
    with pytest.raises(InputError, match="another architecture"):
        teach(make_net(units=49), signed, curriculum, **going_on, **BRIEF)
    (tmp_path / "curriculum.ckpt").write_bytes(b"torn")
    with pytest.raises(FileFormatError, match="truncated or corrupt"):
        teach(make_net(), signed, curriculum, **going_on, **BRIEF)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"budget": 0}, "budget=0"),
        ({"check_every": 1.5}, r"check_every=1\.5"),
        ({"checked": True}, "checked=True"),
        ({"clip": 0.0}, r"clip=0\.0"),
        ({"resume": True}, "needs the output folder"),
        ({"rule": "bppt"}, "did you mean 'bptt'"),
    ],
)
def test_refuses_what_it_cannot_use(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        teach(make_net(), signed, Curriculum((1, 2, 3)), **BRIEF | change)


def test_an_output_that_does_not_divide_into_heads() -> None:
    net = neuro.Sequential(neuro.LeakyRNN(1, 4), neuro.Linear(4, 5))
    with pytest.raises(InputError, match="puts out 5 values, which do not divide into 3 heads"):
        teach(net, signed, Curriculum((1, 2, 3)), **BRIEF)


def test_a_loss_that_explodes_is_named() -> None:
    net = make_net()
    net.layers["1"].get_parameter("weight").data.fill_(float("inf"))
    with pytest.raises(
        InputError, match=r"the loss is nan in step 1, stage 1; lower the optimizer's rates or clip \(2"
    ):
        teach(net, signed, Curriculum((1, 2, 3)), **BRIEF | {"clip": 2.0})
