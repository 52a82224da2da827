"""Norse beside the network made of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neuro
from neuro.compatibility import norse
from neuro.errors import InputError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it compiles functions by means that torch calls deprecated
    import norse.torch as nt
    from norse.torch.functional.iaf import IAFParameters
    from norse.torch.functional.reset import reset_subtract
    from norse.torch.module.iaf import IAFCell

pytestmark = pytest.mark.peers
Check = Callable[..., Tensor]
Membranes = Callable[[neuro.Sequential, Tensor], Tensor]


def run(layers: list[nn.Module]) -> Callable[[Tensor], Tensor]:
    """Norse's cells step by step, its sequence modules whole."""

    def whole(x: Tensor) -> Tensor:
        for layer in layers:
            if isinstance(layer, nn.Linear):
                x = layer(x)
            elif isinstance(layer, nt.LIF | nt.LI | nt.LIFRecurrent):
                x = layer(x)[0]
            else:
                outputs, state = [], None
                for step in x.unbind(0):
                    z, state = layer(step, state)
                    outputs.append(z)
                x = torch.stack(outputs)
        return x

    return whole


def values(dtype: torch.dtype, *learned: str) -> Callable[..., dict[str, Tensor]]:
    def make(**given: float) -> dict[str, Tensor]:
        return {n: torch.tensor(v, dtype=dtype).requires_grad_(n in learned) for n, v in given.items()}

    return make


F32, F64 = torch.float32, torch.float64
OURS = {"v_th": "v_threshold"}


def learned(p: Any) -> dict[str, Tensor]:
    fields = p._asdict() if hasattr(p, "_asdict") else dict(zip(p._fields, p, strict=True))
    tensors = {n: v for n, v in fields.items() if isinstance(v, Tensor) and v.requires_grad}
    return {f"0.{OURS.get(n, n)}": v for n, v in tensors.items()}


@pytest.mark.parametrize(("kind", "dtype"), [("LIF", F64), ("LIFCell", F32)])
def test_lif(kind: str, dtype: torch.dtype, same: Check) -> None:
    # Norse starts the membrane in float32 whatever the type is, so v_leak is a number that float32 has.
    given = {"tau_syn_inv": 310.0, "tau_mem_inv": 140.0, "v_leak": 0.125, "v_th": 0.35, "v_reset": -0.2}
    p = nt.LIFParameters(**values(dtype, "tau_syn_inv", "tau_mem_inv", "v_th")(**given))
    theirs = getattr(nt, kind)(p, dt=2e-3)
    loaded = norse.load([theirs], input_size=6, dtype=dtype)
    spikes = same(loaded, run([theirs]), (6,), learned(p), dtype=dtype)
    assert 0.02 < float(spikes.mean()) < 0.9
    assert loaded.net.dt == 2e-3
    assert loaded.route == neuro.Route(cut_reset=False)


@pytest.mark.parametrize(("reset", "dtype"), [("value", F32), ("subtract", F64)])
def test_lif_box(reset: str, dtype: torch.dtype, same: Check) -> None:
    given = {"tau_mem_inv": 170.0, "v_leak": 0.05, "v_th": 0.3, "v_reset": -0.1}
    options = {"reset_method": reset_subtract} if reset == "subtract" else {}
    p = nt.LIFBoxParameters(**values(dtype, "tau_mem_inv", "v_th")(**given), **options)
    theirs = nt.LIFBoxCell(p, dt=2e-3)
    loaded = norse.load([theirs], input_size=6, dtype=dtype)
    same(loaded, run([theirs]), (6,), learned(p), dtype=dtype)


def test_iaf(same: Check) -> None:
    p = IAFParameters(**values(F64, "v_th")(v_th=0.9, v_reset=-0.3))
    theirs = IAFCell(p)
    loaded = norse.load([theirs], input_size=6, dtype=F64)
    same(loaded, run([theirs]), (6,), learned(p), dtype=F64)


@pytest.mark.parametrize(("kind", "dtype"), [("LI", F64), ("LICell", F32), ("LIBoxCell", F64)])
def test_leaky_integrators(kind: str, dtype: torch.dtype, same: Check) -> None:
    given = {"tau_syn_inv": 310.0, "tau_mem_inv": 140.0, "v_leak": 0.125}
    if kind == "LIBoxCell":
        del given["tau_syn_inv"]
    made = values(dtype, "tau_syn_inv", "tau_mem_inv")(**given)
    p = (nt.LIBoxParameters if kind == "LIBoxCell" else nt.LIParameters)(**made)
    theirs = getattr(nt, kind)(p, dt=2e-3)
    loaded = norse.load([theirs], input_size=6, dtype=dtype)
    same(loaded, run([theirs]), (6,), learned(p), exact=False, dtype=dtype)


@pytest.mark.parametrize(
    ("method", "alpha"), [("super", 100.0), ("super", 3.0), ("tanh", 2.5), ("triangle", 0.3), ("heavi_erfc", 1.7)]
)
def test_each_surrogate(method: str, alpha: float, same: Check) -> None:
    p = nt.LIFBoxParameters(tau_mem_inv=torch.tensor(300.0), v_th=torch.tensor(0.4), method=method, alpha=alpha)
    theirs = nt.LIFBoxCell(p)
    same(norse.load([theirs], input_size=5), run([theirs]), (5,), {})


def run_membranes(layer: nn.Module, x: Tensor) -> Tensor:
    state, made = None, []
    for step in x:
        _, state = layer(step, state)
        made.append(state.v.detach())
    return torch.stack(made)


@pytest.mark.parametrize("v_leak", [0.0, 0.13])
def test_membranes(v_leak: float, membranes: Membranes) -> None:
    make = values(F32)
    x = torch.randn(50, 3, 6, generator=torch.Generator().manual_seed(1))
    layers: list[tuple[nn.Module, bool]] = [
        (nt.LIFBoxCell(nt.LIFBoxParameters(**make(tau_mem_inv=170.0, v_leak=v_leak, v_th=0.3))), True),
        (IAFCell(IAFParameters(**make(v_th=0.9, v_reset=v_leak))), True),
        (nt.LIFCell(nt.LIFParameters(**make(tau_syn_inv=310.0, v_leak=v_leak, v_th=0.35))), v_leak == 0),
        (nt.LICell(nt.LIParameters(**make(tau_mem_inv=140.0, v_leak=v_leak))), v_leak == 0),
        (nt.LIBoxCell(nt.LIBoxParameters(**make(tau_mem_inv=140.0, v_leak=v_leak))), v_leak == 0),
    ]
    for layer, bits in layers:
        made, expected = membranes(norse.load([layer], input_size=6).net, x), run_membranes(layer, x)
        if bits:
            assert torch.equal(made, expected), layer
        assert torch.allclose(made, expected, rtol=1e-6, atol=1e-6), layer


@pytest.mark.parametrize("dtype", [F32, F64])
def test_a_network(dtype: torch.dtype, same: Check) -> None:
    torch.manual_seed(1)
    make = values(dtype)
    slow = nt.LIFParameters(**make(tau_syn_inv=150.0, tau_mem_inv=200.0, v_leak=0.0, v_th=0.4, v_reset=0.1))
    box = nt.LIFBoxParameters(**make(tau_mem_inv=90.0, v_leak=0.0, v_th=0.9, v_reset=0.0))
    last = nt.LIParameters(**make(tau_syn_inv=180.0, tau_mem_inv=60.0, v_leak=0.0))
    theirs = nt.SequentialState(
        nn.Linear(9, 12), nt.LIFCell(slow), nn.Linear(12, 6), nt.LIFBoxCell(box), nn.Linear(6, 3), nt.LICell(last)
    ).to(dtype)
    with torch.no_grad():
        for name, factor in (("0", 4), ("2", 20)):
            theirs.get_submodule(name).weight.mul_(factor)
    loaded = norse.load(theirs)
    same(loaded, run(list(theirs)), (9,), dict(theirs.named_parameters()), exact=False, dtype=dtype)
    spikes = neuro.record(loaded.net, torch.randn(50, 3, 9, dtype=dtype))
    assert float(spikes["3"]["z"].mean()) > 0.02


@pytest.mark.parametrize("autapses", [True, False])
@pytest.mark.parametrize("kind", ["LIFRecurrent", "LIFRecurrentCell"])
def test_recurrent(kind: str, autapses: bool, same: Check) -> None:
    torch.manual_seed(3)
    p = nt.LIFParameters(**values(F32)(tau_syn_inv=310.0, tau_mem_inv=140.0, v_leak=0.0, v_th=0.35, v_reset=-0.2))
    theirs = nn.ModuleList([getattr(nt, kind)(6, 9, p, autapses=autapses, dt=2e-3), nt.LICell(dt=2e-3)])
    with torch.no_grad():
        theirs[0].get_parameter("recurrent_weights").mul_(0.5)
    loaded = norse.load(list(theirs))
    names = {"0_input.weight": "input_weights", "0.weight": "recurrent_weights"}
    parameters = {ours: theirs[0].get_parameter(name) for ours, name in names.items()}
    same(loaded, run(list(theirs)), (6,), parameters, exact=False)
    assert loaded.route == neuro.Route(cut_reset=True)
    assert 0.02 < float(neuro.record(loaded.net, torch.randn(50, 3, 6))["0"]["z"].mean()) < 0.9
    wanted = [p.detach().clone() for p in parameters.values()]
    with torch.no_grad():
        for value in loaded.net.parameters():
            value.zero_()
    norse.load_state(loaded.net, theirs.state_dict())
    assert all(torch.equal(loaded.net.get_parameter(n), w) for n, w in zip(names, wanted, strict=True))


def test_a_feed_forward_cell_beside_a_recurrent_one_is_refused() -> None:
    with pytest.raises(InputError, match="make them alike"):
        norse.load([nt.LIFRecurrentCell(4, 4), nt.LIFCell()])


def test_state_dict() -> None:
    torch.manual_seed(2)
    theirs = nt.SequentialState(nn.Linear(4, 3), nt.LIFCell(), nn.Linear(3, 2, bias=False), nt.LICell())
    cells = norse.NorseLIF(3), norse.NorseLI(2)
    net = neuro.Sequential(neuro.Linear(4, 3), cells[0], neuro.Linear(3, 2, bias=False), cells[1])
    norse.load_state(net, theirs.state_dict())
    x = 20 * torch.rand(30, 2, 4)
    assert torch.allclose(net(x)[0], run(list(theirs))(x), rtol=1e-5, atol=1e-7)
    assert bool(net(x)[0].any())


def test_refused() -> None:
    for layer, reason in [
        (nt.LIFCell(nt.LIFParameters(method="circ")), "circ"),
        (nt.LIFCell(nt.LIFParameters(method="adjoint")), "adjoint"),
        (nt.LIFBoxCell(nt.LIFBoxParameters(reset_method=lambda z, v, r, t: v)), "reset_method"),
        (nt.LSNNCell(), "none of Linear"),
    ]:
        with pytest.raises(InputError, match=reason):
            norse.load([layer], input_size=4)
