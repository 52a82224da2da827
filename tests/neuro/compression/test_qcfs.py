from __future__ import annotations

import pytest
import torch
from torch import nn

from neuro.compression import QCFS, use_qcfs
from neuro.errors import InputError


def test_is_the_staircase_of_the_paper() -> None:
    act = QCFS(levels=4, threshold=2.0).double()
    x = torch.linspace(-1, 3, 4001, dtype=torch.float64)
    expected = 2.0 * (torch.floor(x * 4 / 2.0 + 0.5) / 4).clamp(0, 1)
    torch.testing.assert_close(act(x), expected, rtol=0, atol=1e-12)


def test_gradients_are_those_of_the_straight_through_floor() -> None:
    act = QCFS(levels=4, threshold=2.0).double()
    x = torch.tensor([-1.0, 0.1, 0.7, 1.9, 5.0], dtype=torch.float64, requires_grad=True)
    y = act(x)
    for k, (dx, dh) in enumerate([(0, 0.0), (1, -0.05), (1, (0.5 - 0.7) / 2), (1, (2.0 - 1.9) / 2), (0, 1.0)]):
        gx, gh = torch.autograd.grad(y[k], (x, act.threshold), retain_graph=True)
        assert float(gx[k]) == dx
        assert float(gh) == pytest.approx(dh, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"levels": 0}, "levels=0"), ({"levels": 2.5}, "levels=2.5"), ({"threshold": 0.0}, "threshold=0.0")],
)
def test_refuses_what_is_no_staircase(options: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        QCFS(**options)  # type: ignore[arg-type]


def test_stands_for_relu_wherever_it_is_and_means_for_maxima() -> None:
    ann = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, 1)), nn.ReLU()).double()
    made = use_qcfs(ann, levels=3, threshold=1.5)
    kinds = [type(m) for m in made.modules() if not list(m.children())]
    assert kinds == [nn.Conv2d, QCFS, nn.AvgPool2d, QCFS]
    assert made.get_submodule("1.1").stride == 1
    assert made.get_parameter("2.threshold").dtype == torch.float64
    assert isinstance(ann[2], nn.ReLU)
    assert isinstance(use_qcfs(nn.ReLU()), QCFS)
    with pytest.raises(InputError, match=r"Linear holds no nn\.ReLU"):
        use_qcfs(nn.Linear(2, 2))
