"""What a layer with state gets from its base, and what it has to bring."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import neuro
from neuro.kernels.compiler.route import Route
from neuro.layer import Population, State, StatefulLayer


class Sum(StatefulLayer):
    """Running sum of its input; the smallest layer with state."""

    def __init__(self, size: int, dt: float = 1e-3) -> None:
        super().__init__()
        self.size, self.dt = size, dt

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        return (torch.zeros(batch, self.size, device=device, dtype=dtype),)

    def forward(self, x: Tensor, state: State | None = None, *, route: Route | None = None) -> tuple[Tensor, State]:
        before = state or self.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
        y = before[0] + x.cumsum(0)
        return y, (y[-1],)

    def definition(self) -> dict[str, Any]:
        return {"size": self.size, "dt": self.dt}


def test_a_layer_of_ones_own_runs_in_a_network() -> None:
    net = neuro.Sequential(Sum(4), neuro.Linear(4, 2), neuro.LIF(2))
    x = torch.rand(6, 3, 4)
    whole, end = net(x)
    first, state = net(x[:2])
    second, after = net(x[2:], state)
    assert torch.allclose(torch.cat([first, second]), whole)
    for part, other in zip(after, end, strict=True):
        assert all(torch.allclose(a, b) for a, b in zip(part or (), other or (), strict=True))
    assert list(neuro.record(net, x)) == ["2"]  # neurons are recorded, other layers are not
    assert net.dt == 1e-3
    assert net.initial_state(3)[0] is not None


def test_a_step_is_a_sequence_of_one() -> None:
    layer, x = Sum(2), torch.rand(1, 5, 2)
    y, state = layer.step(x[0], layer.initial_state(5))
    assert torch.equal(y, layer(x)[0][0])
    assert torch.equal(state[0], y)


def test_definition_and_class_rebuild_it() -> None:
    made = Sum.from_definition(Sum(7, dt=2e-3).definition())
    assert (made.size, made.dt) == (7, 2e-3)


def test_what_is_missing_is_named() -> None:
    class Half(Population):
        def definition(self) -> dict[str, Any]:
            return {}

    with pytest.raises(TypeError, match="abstract methods forward, initial_state, trace"):
        Half()  # type: ignore[abstract]


def test_cells_are_populations() -> None:
    assert isinstance(neuro.LIF(2), Population)
    assert not isinstance(neuro.DelayedLinear(2, 2, 2e-3), Population)


@pytest.mark.parametrize("cell", [neuro.LIF(6), neuro.Recurrent(neuro.LIF(6)), neuro.LTC(6, 6, dt=1e-3)])
def test_under_autocast_products_are_in_half_precision_and_states_are_not(cell: Population) -> None:
    torch.manual_seed(0)
    synapses = neuro.Linear(5, 6, mode="dense")
    net = neuro.Sequential(synapses, cell)
    x = torch.rand(9, 4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        drive = synapses(x)
        out, state = net(x)
        out.square().sum().backward()
    assert drive.dtype is torch.bfloat16
    assert {part.dtype for part in (out, *state[1])} == {torch.float32}
    again, _ = cell(drive.float())
    assert torch.equal(out, again)
    assert all(p.grad is None or p.grad.dtype is torch.float32 for p in net.parameters())
