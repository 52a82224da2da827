"""What holds for every network: nesting, names, explicit state."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.kernels import Route
from neuro.layer import Population
from neuro.network import leaves


def layers(seed: int = 3) -> list[torch.nn.Module]:
    torch.manual_seed(seed)
    made = [neuro.Linear(5, 6), neuro.LIF(6, tau=3e-3), neuro.Linear(6, 4), neuro.Recurrent(neuro.ALIF(4)), neuro.LI(4)]
    for layer in made:
        for name, value in layer.named_parameters():
            if "weight" in name:
                value.data.mul_(15)
    return made


def x(steps: int = 12) -> Tensor:
    return (torch.rand(steps, 3, 5, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def test_a_network_in_a_network_is_the_same_network() -> None:
    parts = layers()
    flat = neuro.Sequential(*parts)
    nested = neuro.Sequential(
        neuro.Sequential(*parts[:2]), neuro.Sequential({"deep": neuro.Sequential(*parts[2:4])}), parts[4]
    )
    assert [n for n, _ in leaves(nested)] == ["0.0", "0.1", "1.deep.0", "1.deep.1", "2"]
    assert list(nested.cells) == ["0.1", "1.deep.1", "2"]
    expected, end = flat(x())
    assert bool(expected.any())
    made, after = nested(x())
    assert torch.equal(made, expected)
    assert torch.equal(after[1][0][1][0], end[3][0])
    first, middle = nested(x()[:5])
    second, _ = nested(x()[5:], middle)
    assert torch.equal(torch.cat([first, second]), expected)
    steps, state = [], nested.initial_state(3)
    for step in x():
        y, state = nested.step(step, state)
        steps.append(y)
    torch.testing.assert_close(torch.stack(steps), expected, rtol=0, atol=1e-6)
    for name, traces in neuro.record(flat, x()).items():
        theirs = dict(zip(["1", "3", "4"], list(nested.cells), strict=True))[name]
        assert torch.equal(traces["v"], neuro.record(nested, x())[theirs]["v"])


@pytest.mark.parametrize("options", [{"route": Route(cut_time=True)}, {"recompute": 4}])
def test_options_reach_the_layers_inside(options: dict[str, object]) -> None:
    parts = layers()
    flat, nested = (
        neuro.Sequential(*parts),
        neuro.Sequential(neuro.Sequential(*parts[:3]), neuro.Sequential(*parts[3:])),
    )
    gradients = []
    for net in (flat, nested):
        net.zero_grad()
        net(x(), **options)[0].square().sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert all(bool(g.any()) for g in gradients[0])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_time_spans_reach_liquid_cells_inside() -> None:
    torch.manual_seed(0)
    cell = neuro.CfC(2, 3)
    spans = torch.rand(4) + 0.1
    y, _ = neuro.Sequential(neuro.Sequential(cell))(torch.ones(4, 1, 2), timespans=spans)
    assert torch.equal(y, cell(torch.ones(4, 1, 2), None, spans)[0])
    with pytest.raises(InputError, match=r"layers \['0.0'\] go by steps"):
        neuro.Sequential(neuro.Sequential(neuro.LIF(2)))(torch.ones(4, 1, 2), timespans=spans)
    with pytest.raises(InputError, match="recompute and timespans do not go together"):
        neuro.Sequential(cell)(torch.ones(4, 1, 2), timespans=spans, recompute=2)


def test_wrong_networks_are_named() -> None:
    with pytest.raises(InputError, match="at least one layer"):
        neuro.Sequential()
    for name in ("cells", "dt", "a.b", ""):
        with pytest.raises(InputError, match="cannot be named"):
            neuro.Sequential({name: neuro.LIF(2)})
    with pytest.raises(InputError, match="share one dt"):
        neuro.Sequential(neuro.LIF(2, dt=1e-3), neuro.Sequential(neuro.LIF(2, dt=2e-3)))
    with pytest.raises(InputError, match="must be a module"):
        neuro.Sequential(neuro.LIF(2), 3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="2 entries"):
        neuro.Sequential(neuro.Linear(2, 2), neuro.LIF(2))(torch.zeros(1, 1, 2), (None,))
    with pytest.raises(InputError, match="without cells has no dt"):
        neuro.Sequential(neuro.Sequential(neuro.Linear(2, 2))).dt  # noqa: B018
    assert isinstance(neuro.LIF(2), Population)
    assert not isinstance(neuro.Flatten(), Population)
