"""Cells against their updates written out, where the library itself may not be installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neuro
from neuro.compatibility import CELLS, rockpool, sinabs, spikingjelly
from neuro.neurons import CELLS as OWN
from neuro.neurons.cell import Cell

Step = Callable[[Tensor, dict[str, Tensor]], Tensor]
X = torch.randn(50, 3, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def run(cell: Cell) -> Tensor:
    output: Tensor = cell.double()(X, backend="reference")[0].detach()
    return output


def loop(step: Step, **start: float) -> Tensor:
    state = {name: torch.full_like(X[0], value) for name, value in start.items()}
    return torch.stack([step(x, state) for x in X])


def hard(state: dict[str, Tensor], threshold: float, reset: float) -> Tensor:
    z = (state["v"] >= threshold).to(X)
    state["v"] = (1 - z) * state["v"] + z * reset
    return z


@pytest.mark.parametrize("whole", [False, True])
def test_spikingjelly_lif(whole: bool) -> None:
    tau, rest, threshold = 3.7, -0.25, 0.375

    def step(x: Tensor, state: dict[str, Tensor]) -> Tensor:
        v = state["v"]
        state["v"] = v - (v - rest) / tau + x if whole else v + (x - (v - rest)) / tau
        return hard(state, threshold, rest)

    values: dict[str, Any] = {"v_threshold": threshold, "v_reset": rest}
    plain = spikingjelly.SpikingJellyWholeInputLIF if whole else spikingjelly.SpikingJellyLIF
    learned = spikingjelly.SpikingJellyWholeInputPLIF if whole else spikingjelly.SpikingJellyPLIF
    expected = loop(step, v=rest)
    assert 0.02 < float(expected.mean()) < 0.9
    assert torch.equal(run(plain(6, tau=torch.tensor(tau, dtype=X.dtype), **values)), expected)
    w = -torch.tensor(tau - 1, dtype=X.dtype).log()
    assert torch.equal(run(learned(6, w=w, **values)), expected)


def several(v: Tensor, threshold: float, most: float) -> Tensor:
    return torch.where(v >= threshold, torch.floor(v / threshold), torch.zeros_like(v)).clamp(max=most)


@pytest.mark.parametrize("most", [1.0, 3.0, 1e6])
@pytest.mark.parametrize("norm", [0.0, 1.0])
def test_sinabs_lif(norm: float, most: float) -> None:
    threshold, lowest = 0.125, -0.75
    mem, syn = (torch.exp(torch.tensor(-1 / tau, dtype=X.dtype)) for tau in (8.0, 3.0))

    def step(x: Tensor, state: dict[str, Tensor]) -> Tensor:
        state["i"] = syn * (state["i"] + x)
        v = mem * state["v"] + (1 - norm * mem) * state["i"]
        z = several(v, threshold, most)
        state["v"] = torch.relu(v - z * threshold - lowest) + lowest
        return z

    expected = loop(step, v=0.0, i=0.0)
    values: dict[str, Any] = {"v_threshold": threshold, "v_subtract": threshold, "v_min": lowest, "most": most}
    cell = sinabs.SinabsCurrentLIF(6, tau_mem=8.0, tau_syn=3.0, norm_input=norm, **values)
    assert torch.equal(run(cell), expected)
    highest = float(expected.max())
    assert 1 <= highest <= most
    assert highest > 1 or most == 1


@pytest.mark.parametrize("most", [1.0, 1e6])
def test_rockpool_lif(most: float) -> None:
    threshold, bias, dt = 0.5, 0.0625, 2e-3
    mem, syn = (torch.exp(-dt / torch.tensor(tau, dtype=X.dtype)) for tau in (8e-3, 5e-3))

    def step(x: Tensor, state: dict[str, Tensor]) -> Tensor:
        state["i"] = syn * (state["i"] + x)
        v = mem * state["v"] + state["i"] + bias
        z = several(v, threshold, most)
        state["v"] = v - z * threshold
        return z

    times: dict[str, Any] = {"tau_mem": torch.tensor(8e-3, dtype=X.dtype), "tau_syn": torch.tensor(5e-3, dtype=X.dtype)}
    cell = rockpool.RockpoolLIF(6, dt=dt, bias=bias, v_threshold=threshold, most=most, **times)
    assert torch.equal(run(cell), loop(step, v=0.0, i=0.0))


def stand_in(package: str, name: str, **attributes: Any) -> nn.Module:
    """A module that looks like one of ``package``'s."""
    made: nn.Module = type(name, (nn.Module,), {"__module__": f"{package}.some.module"})()
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


def test_modules_are_read_by_their_attributes() -> None:
    slope = stand_in("spikingjelly", "ATan", alpha=4.0, spiking=True)
    node: dict[str, Any] = {"v_threshold": 0.5, "v_reset": None, "detach_reset": True, "surrogate_function": slope}
    net, route = spikingjelly.load([stand_in("spikingjelly", "IFNode", **node)], input_size=4)
    cell = net.cells["0"]
    assert (type(cell).__name__, cell.reset, route.cut_reset) == ("SpikingJellyIF", "soft", True)
    assert cell.surrogate == neuro.Surrogate("atan", width=1 / (2 * torch.pi), peak=2.0)

    layer: dict[str, Any] = {"tau_syn": None, "train_alphas": False, "norm_input": False}
    layer |= {"min_v_mem": torch.tensor(-1.0), "tau_mem": torch.tensor(7.0), "spike_threshold": torch.tensor(0.5)}
    layer["spike_fn"] = type("MultiSpike", (), {})
    layer["reset_fn"] = type("MembraneSubtract", (), {"subtract_value": None})()
    layer["surrogate_grad_fn"] = type("SingleExponential", (), {"grad_width": 0.5, "grad_scale": 1.0})()
    net, route = sinabs.load([stand_in("sinabs", "LIF", **layer)], input_size=4)
    cell = net.cells["0"]
    assert (type(cell).__name__, cell.reset, route.cut_reset) == ("SinabsLIF", "subtract", False)
    assert [float(cell.value(n)) for n in ("v_min", "most", "v_subtract", "tau_mem")] == [-1, 2.0**24, 0.5, 7]


def test_names_are_unique() -> None:
    names = [cell.__name__ for cell in CELLS]
    assert len({*names, *OWN}) == len(names) + len(OWN)
