"""What holds for every population that comes with neuro, one function per law.

``python -P tests/neuro/test_laws.py`` prints the table population x law.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.layer import Population
from neuro.neurons import CELLS, POPULATIONS
from neuro.neurons.gated import EGRU
from neuro.neurons.hoyer import Hoyer

STEPS, BATCH, WIDTH = 24, 3, 6
X = torch.rand(STEPS, BATCH, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SCALES = (1.0, 4.0, 20.0, 100.0, 1e3, 1e-10, 1e-9, 1e-8)  # volts, or amperes where a cell takes those

OTHERS: Mapping[str, Callable[[], Population]] = MappingProxyType(
    {
        "LTC": lambda: neuro.LTC(WIDTH, 5, unfolds=4),
        "CfC": lambda: neuro.CfC(WIDTH, 5, hidden=8),
        "MPBN": lambda: neuro.MPBN(neuro.LIF(WIDTH, tau=3e-3)),
        "SlidingPSN": lambda: neuro.SlidingPSN(WIDTH, order=3, v_threshold=0.4),
        "SRM": lambda: neuro.SRM(WIDTH, seed=5),
        "Hoyer": lambda: Hoyer(WIDTH, v_threshold=0.7),
        "Recurrent": lambda: neuro.Recurrent(neuro.ALIF(WIDTH), scale=2.0),
        "DelayedRecurrent": lambda: neuro.DelayedRecurrent(neuro.LIF(WIDTH, tau=3e-3), 5e-3, scale=2.0),
        "EGRU": lambda: EGRU(WIDTH, 5, threshold=0.05),
        "ELSTM": lambda: neuro.ELSTM(WIDTH, 5, forget_bias=1.0),
        "LeakyRNN": lambda: neuro.LeakyRNN(WIDTH, 5),
        "S4D": lambda: neuro.S4D(WIDTH, modes=3),
        "GatedLRU": lambda: neuro.GatedLRU(WIDTH, 5, eigenvalues="signed"),
        "LRUBlock": lambda: neuro.LRUBlock(WIDTH, units=5),
        "AKOrN": lambda: neuro.AKOrN(3, dimension=2, omega=0.5),
    }
)
LOOPS = {"MPBN", "Hoyer", "AKOrN"}  # torch operations alone: their own reference
EXPORTED = (neuro.LIF, neuro.CuBaLIF, neuro.IF, neuro.LI)  # for which NIR has a node
NOISY = {"SRM"}  # each place in the batch has random numbers of its own


def make(name: str) -> Population:
    torch.manual_seed(1)
    layer = OTHERS[name]() if name in OTHERS else CELLS[name](WIDTH, dt=5e-4)
    return layer.double().eval()


def driven(layer: Population) -> Tensor:
    """An input for which spiking neurons spike now and then."""
    for scale in SCALES:
        y = layer(scale * X)[0].detach()
        if bool(torch.isfinite(y).all()) and 0 < float((y != 0).double().mean()) < 1:
            return scale * X
    return X


def leaves(state: Any) -> Iterator[Tensor]:
    for part in state:
        if isinstance(part, tuple):
            yield from leaves(part)
        elif part is not None:
            yield part


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)


def shapes(name: str, layer: Population, x: Tensor) -> str:
    y, state = layer(x)
    assert y.shape == (STEPS, BATCH, *layer.size)
    assert bool(torch.isfinite(y).all())
    assert bool(y.any())
    begin = layer.initial_state(BATCH, dtype=torch.float64)
    assert [s.shape for s in leaves(state)] == [s.shape for s in leaves(begin)]
    assert {s.shape[0] for s in leaves(state)} <= {BATCH}
    return "yes"


def steps(name: str, layer: Population, x: Tensor) -> str:
    whole, end = layer(x)
    state, made = layer.initial_state(BATCH, dtype=torch.float64), []
    for now in x:
        y, state = layer.step(now, state)
        made.append(y)
    close(torch.stack(made), whole)
    for a, b in zip(leaves(state), leaves(end), strict=True):
        close(a, b)
    return "yes"


def pieces(name: str, layer: Population, x: Tensor) -> str:
    whole, end = layer(x)
    for cut in (1, 9, STEPS - 1):
        first, middle = layer(x[:cut])
        second, last = layer(x[cut:], middle)
        close(torch.cat([first, second]), whole)
        for a, b in zip(leaves(last), leaves(end), strict=True):
            close(a, b)
    return "yes"


def batch_order(name: str, layer: Population, x: Tensor) -> str:
    order = torch.tensor([2, 0, 1])
    same = torch.allclose(layer(x[:, order])[0], layer(x)[0][:, order], rtol=1e-9, atol=1e-9)
    assert same == (name not in NOISY)
    return "yes" if same else "no: noise of its own at each place"


def gradients(name: str, layer: Population, x: Tensor) -> str:
    layer.train(name in {"MPBN", "DelayedRecurrent"})  # in evaluation statistics are constants and delays whole steps
    learned = {n: p for n, p in layer.named_parameters() if p.requires_grad}
    if not learned:
        assert isinstance(layer, neuro.Cell)
        assert layer.learn == ()
        return "nothing learns by default"
    # From a state inside, so that what multiplies the state is felt from the first step on.
    y = torch.cat([layer(x)[0], layer(1.3 * x)[0]])
    weights = torch.linspace(0.5, 1.5, y.numel(), dtype=y.dtype).view(y.shape)
    (y * weights).sum().backward()
    for n, p in learned.items():
        assert p.grad is not None, n
        assert bool(torch.isfinite(p.grad).all()), n
        assert bool(p.grad.any()), n
    return "yes"


def reference(name: str, layer: Population, x: Tensor) -> str:
    if name in LOOPS:
        return "is torch itself"
    plain: Any = layer(x, backend="reference")
    close(plain[0], layer(x)[0])
    return "yes"


def saved(name: str, layer: Population, x: Tensor) -> str:
    net = neuro.Sequential({"here": layer})
    with tempfile.TemporaryDirectory() as folder:
        again = neuro.load(neuro.save(net, Path(folder) / "net.safetensors")).double().eval()
    assert again.definition() == net.definition()
    assert torch.equal(again(x)[0], net(x)[0])
    assert torch.equal(copy.deepcopy(net)(x)[0], net(x)[0])
    return "yes"


def precision(name: str, layer: Population, x: Tensor) -> str:
    assert layer(x)[0].dtype == torch.float64
    y, state = copy.deepcopy(layer).float()(x.float())
    assert y.dtype == torch.float32
    assert {s.dtype for s in leaves(state)} <= {torch.float32}
    return "yes"


def text(name: str, layer: Population, x: Tensor) -> str:
    assert repr(layer).startswith(f"{name}(")
    return "yes"


def nir(name: str, layer: Population, x: Tensor) -> str:
    net = neuro.Sequential({"here": layer.float()})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.nir"
        if not isinstance(layer, EXPORTED):
            with pytest.raises(InputError, match=rf"layer 'here' \({name}\)"):
                neuro.hardware.export(net, path)
            return "refused"
        neuro.hardware.export(net, path, allow=("reset",) if layer.equations.reset_kinds else ())
        again = neuro.hardware.read(path)
    ours, theirs = layer.parameters_si(), again.cells["here"].parameters_si()
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert torch.equal(value.expand(layer.size), theirs[key].expand(layer.size)), key
    assert torch.equal(again(x.float())[0], net(x.float())[0])
    return "yes"


def constraints(name: str, layer: Population, x: Tensor) -> str:
    learned = [p for p in layer.parameters() if p.requires_grad]
    if not learned:
        return "nothing learns by default"
    cell = layer.cell if isinstance(layer, neuro.Recurrent | neuro.MPBN) else layer
    for sign in (-1.0, 1.0):
        moved = copy.deepcopy(cell)
        for p in moved.parameters():
            p.data += sign * 25.0
        if isinstance(moved, neuro.Cell):
            for key, value in moved.parameters_si().items():
                if moved.equations.parameters[key].positive:
                    assert bool((value > 0).all()), key
                assert bool(torch.isfinite(value).all()), key
        else:
            y = moved(X)[0]
            assert not bool(torch.isnan(y).any())
    return "yes"


LAWS: tuple[Callable[[str, Population, Tensor], str], ...] = (
    *(shapes, steps, pieces, batch_order, gradients, reference, saved, precision, text, nir, constraints),
)


def test_every_population_is_here() -> None:
    assert {*OTHERS, *CELLS} == set(POPULATIONS)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", POPULATIONS)
def test_law(name: str, law: Callable[[str, Population, Tensor], str]) -> None:
    layer = make(name)
    assert law(name, layer, driven(layer))


if __name__ == "__main__":
    rows = [["population", *(law.__name__.replace("_", " ") for law in LAWS)], ["---"] * (len(LAWS) + 1)]
    for each in POPULATIONS:
        rows.append([each, *(law(each, layer := make(each), driven(layer)) for law in LAWS)])
    sys.stdout.write("\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n")
