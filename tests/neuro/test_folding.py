"""A folded network spikes as the one with normalisations does, or is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import neuro
from neuro.errors import InputError
from neuro.folding import fold
from neuro.network import leaves
from neuro.neurons.membrane_norm import MPBN
from neuro.synapses.normalisation import BNTT, TDBN, TEBN, BatchNorm


def trained(*layers: nn.Module, seed: int = 1) -> neuro.Sequential:
    """In float64, normalisations with statistics and gains (of both signs) as after training."""
    net, g = neuro.Sequential(*layers).double().eval(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in net.modules():
            for name in ("weight", "bias", "running_mean", "running_var"):
                value = getattr(layer, name, None)
                if isinstance(layer, BatchNorm | BNTT | MPBN) and value is not None:
                    drawn = torch.randn(value.shape, generator=g, dtype=torch.float64)
                    value.copy_(drawn.abs() + 0.2 if name == "running_var" else drawn)
    return net


def same_spikes(net: neuro.Sequential, x: Tensor) -> neuro.Sequential:
    made = fold(net)
    ours, theirs = net(x)[0], made(x)[0]
    assert torch.equal(ours, theirs)
    assert 0.005 < float(ours.detach().mean()) < 0.9, "the test must see spikes and silence"
    assert not any(isinstance(m, BatchNorm | TEBN | BNTT | MPBN) for m in made.modules())
    return made


def noise(*shape: int, size: float = 1.0) -> Tensor:
    return size * torch.randn(*shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


FRONTS: dict[str, tuple[Callable[[], list[nn.Module]], tuple[int, ...], int]] = {
    "Linear": (lambda: [neuro.Linear(8, 20)], (8,), 20),
    "Linear without bias": (lambda: [neuro.Linear(8, 20, bias=False)], (8,), 20),
    "SparseLinear": (lambda: [neuro.SparseLinear(8, 20, fan_in=3, bias=False)], (8,), 20),
    "DelayedLinear": (lambda: [neuro.DelayedLinear(8, 20, 5e-3)], (8,), 20),
    "OneToOne": (lambda: [neuro.OneToOne((5, 4), bias=True)], (5, 4), 5),
    "OneToOne without bias": (lambda: [neuro.OneToOne(20)], (20,), 20),
    "Conv1d": (lambda: [neuro.Conv1d(2, 5, 3)], (2, 9), 5),
    "Conv2d without bias": (lambda: [neuro.Conv2d(2, 5, 3, padding=1, bias=False)], (2, 6, 7), 5),
    "pooled": (lambda: [neuro.Conv2d(2, 5, 3), neuro.SumPool2d((2, 1)), neuro.SumPool2d(2)], (2, 9, 7), 5),
    "standardised": (lambda: [neuro.standardise(neuro.Linear(8, 20))], (8,), 20),
    "quantised": (lambda: [neuro.quantise(neuro.Linear(8, 20), bits=4)], (8,), 20),
}
each_front = pytest.mark.parametrize("front", FRONTS)


@each_front
@pytest.mark.parametrize("kind", [BatchNorm, TDBN])
def test_currents(front: str, kind: type[BatchNorm]) -> None:
    torch.manual_seed(4)
    make, size, features = FRONTS[front]
    x = noise(25, 3, *size)
    synapses = make()
    shape = tuple(neuro.Sequential(*synapses)(x[:1].float())[0].shape[2:])
    norm = TDBN(features, v_threshold=20.0, alpha=0.7) if kind is TDBN else BatchNorm(features)
    net = trained(*synapses, norm, neuro.LIF(shape, r=1.0 if kind is TDBN else 20.0))
    assert bool((norm.weight < 0).any())
    same_spikes(net, x)


@each_front
def test_membranes_with_negative_gains(front: str) -> None:
    torch.manual_seed(4)
    make, size, _ = FRONTS[front]
    x = noise(60, 4, *size, size=3)
    synapses = make()
    shape = tuple(neuro.Sequential(*synapses)(x[:1].float())[0].shape[2:])
    norm = MPBN(neuro.LIF(shape, r=10.0, v_threshold=1.0))
    net = trained(*synapses, norm)
    with torch.no_grad():  # thresholds above rest, whatever the sign of the gain
        norm.bias.uniform_(-0.2, 0.2, generator=torch.Generator().manual_seed(2))
        norm.running_mean.uniform_(-0.05, 0.05, generator=torch.Generator().manual_seed(3))
    assert bool((norm.weight < 0).any())
    made = same_spikes(net, x)
    cell = next(iter(made.cells.values()))
    assert bool((cell.parameters_si()["v_threshold"] > 0).all())


def test_the_sign_matters() -> None:
    """Without the flip of weights and reset many spikes would be others: the test above can fail."""
    torch.manual_seed(4)
    norm = MPBN(neuro.LIF(20, r=10.0))
    net, x = trained(neuro.Linear(8, 20), norm), noise(60, 4, 8, size=3)
    with torch.no_grad():
        norm.bias.zero_()
        norm.running_mean.zero_()
    made = fold(net)
    wrong = neuro.Sequential(net.layers["0"], made.layers["1"])
    turned = norm.weight < 0
    ours, theirs = net(x)[0], wrong(x)[0]
    assert torch.equal(ours[..., ~turned], theirs[..., ~turned])
    assert int((ours[..., turned] != theirs[..., turned]).sum()) > 200


@pytest.mark.parametrize("cell", ["LIF", "IF", "PLIF"])
@pytest.mark.parametrize("method", ["euler", "exponential"])
def test_cells_with_rest_and_reset_of_their_own(cell: str, method: str) -> None:
    torch.manual_seed(1)
    options = {"v_reset": -0.3, "v_threshold": 1.2, "method": method} | ({"v_leak": -0.1} if cell != "IF" else {})
    inner = getattr(neuro, cell)(12, r=8.0 if cell != "IF" else 200.0, **options)
    norm = MPBN(inner)
    net = trained(neuro.Linear(6, 12), norm)
    with torch.no_grad():
        norm.bias.mul_(0.1)
        norm.running_mean.mul_(0.02)
        norm.weight[:3] = -norm.weight[:3].abs() - 0.2
    made = same_spikes(net, noise(50, 3, 6, size=4))
    membrane = neuro.record(net, noise(50, 3, 6, size=4))["1"]["v"]
    folded = neuro.record(made, noise(50, 3, 6, size=4))["1"]["v"]
    assert torch.allclose(folded, membrane * torch.sign(norm.weight.detach()), atol=1e-12)


def test_a_deep_network_of_all_kinds(tmp_path: Path) -> None:
    torch.manual_seed(2)
    net = trained(
        neuro.Conv2d(2, 6, 3, padding=1, bias=False), BatchNorm(6), neuro.LIF((6, 8, 8), r=15.0),
        neuro.Conv2d(6, 8, 3), neuro.SumPool2d(2), TDBN(8, v_threshold=20.0), neuro.LIF((8, 3, 3)),
        neuro.Flatten(), neuro.Linear(72, 30), BatchNorm(30), MPBN(neuro.LIF(30, r=20.0, v_threshold=2.0)),
        neuro.Linear(30, 10), TEBN(10, 40), neuro.LIF(10, r=20.0),
    )  # fmt: skip
    last = net.layers["10"]
    assert isinstance(last, MPBN)
    with torch.no_grad():
        last.bias.mul_(0.3)
        last.running_mean.mul_(0.1)
    x = (noise(40, 4, 2, 8, 8) > 0.8).double()
    made = same_spikes(net, x)
    assert list(made.layers) == ["0", "2", "3", "4", "6", "7", "8", "10", "11", "13"]
    again = neuro.load(neuro.save(made, tmp_path / "folded.safetensors")).double()
    assert torch.equal(again(x)[0], made(x)[0])
    assert torch.equal(fold(made)(x)[0], made(x)[0])


def test_the_network_stays_as_it_was() -> None:
    net = trained(neuro.Linear(4, 3), BatchNorm(3), neuro.LIF(3)).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    made = fold(net)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert net.training
    assert not made.training
    assert not torch.equal(made.state_dict()["0.weight"], before["0.weight"])


def test_steps_that_are_alike_fold() -> None:
    norm = BNTT(3, 5)
    net = trained(neuro.Linear(4, 3), norm, neuro.LIF(3, r=30.0))
    with torch.no_grad():
        for value in (norm.weight, norm.running_mean, norm.running_var):
            value.copy_(value[:1].expand(5, -1).clone())
    same_spikes(net, noise(5, 30, 4))


def gain_zero() -> neuro.Sequential:
    norm = MPBN(neuro.LIF(3))
    norm.weight.data[1] = 0
    return neuro.Sequential(neuro.Linear(4, 3), norm)


def fires_at_rest() -> neuro.Sequential:
    norm = MPBN(neuro.LIF(3))
    norm.bias.data[:2] = 1.5
    return neuro.Sequential(neuro.Linear(4, 3), norm)


def turned(*layers: nn.Module) -> neuro.Sequential:
    norm = MPBN(neuro.LIF(3))
    norm.weight.data[1] = -1
    norm.bias.data[1] = 0
    return neuro.Sequential(*layers, norm)


def twice() -> neuro.Sequential:
    layer = neuro.Linear(3, 3)
    return neuro.Sequential(layer, BatchNorm(3), neuro.LIF(3), layer)


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (lambda: trained(neuro.Linear(4, 3), BNTT(3, 5)), r"'1' \(BNTT\) cannot be folded: its gain differs from step"),
        (lambda: neuro.Sequential(BatchNorm(3), neuro.LIF(3)), r"'0' \(BatchNorm\).*no weights stand right before"),
        (
            lambda: neuro.Sequential(neuro.LIF(3), BatchNorm(3)),
            "no weights stand right before it; put it behind one of",
        ),
        (lambda: neuro.Sequential(neuro.Linear(3, 4), BatchNorm(3)), "has 3 features, but 4 come in"),
        (gain_zero, r"'1' \(MPBN\) cannot be folded: 1 of its features have gain 0"),
        (fires_at_rest, r"2 of 3 neurons would have a threshold at or below rest or reset \(the lowest: -0.5 V\)"),
        (lambda: turned(neuro.LIF(3)), r"'1' \(MPBN\) cannot be folded: no weights"),
        (twice, "stands in this network twice"),
    ],
)
def test_what_cannot_be_folded_is_refused_with_the_reason(net: Callable[[], neuro.Sequential], said: str) -> None:
    with pytest.raises(InputError, match=said):
        fold(net())


def test_tebn_with_other_scales_is_refused() -> None:
    norm = TEBN(3, 4)
    norm.scale.data[2] = 1.5
    with pytest.raises(InputError, match=r"differs from step to step by up to 0\.5.*train with BatchNorm or TDBN"):
        fold(neuro.Sequential(neuro.Linear(4, 3), norm))


def test_export_asks_for_the_folded_network(tmp_path: Path) -> None:
    torch.manual_seed(5)
    norm = MPBN(neuro.LIF(6, r=10.0))
    net = trained(neuro.Linear(4, 9), BatchNorm(9), neuro.LIF(9, r=20.0), neuro.Linear(9, 6), norm)
    with torch.no_grad():
        norm.bias.zero_()
        norm.running_mean.zero_()
    with pytest.raises(InputError, match=r"layer '1' \(BatchNorm\) is a normalisation.*write neuro.fold\(net\)"):
        neuro.hardware.export(net, tmp_path / "net.nir")
    with pytest.raises(InputError, match=r"layer '1' \(MPBN\) is a normalisation"):
        neuro.hardware.export(neuro.Sequential(neuro.Linear(4, 6), norm), tmp_path / "net.nir")
    made = fold(net)
    neuro.hardware.export(made, tmp_path / "net.nir")
    x = noise(40, 3, 4)
    again = neuro.hardware.read(tmp_path / "net.nir")
    assert torch.equal(again.double()(x)[0], net(x)[0])
    assert net(x)[0].any()


def test_networks_inside_are_folded_too() -> None:
    inner = [neuro.Linear(6, 6), BatchNorm(6), neuro.LIF(6, tau=3e-3)]
    block = neuro.Residual(
        neuro.Sequential(*inner), neuro.Sequential(neuro.Linear(6, 6), TDBN(6), neuro.LIF(6, tau=1.5e-3))
    )
    nodes = {
        "q": neuro.Sequential(neuro.Linear(6, 4), BatchNorm(4), neuro.LIF(4, tau=1.5e-3, v_threshold=0.3)),
        "loop": neuro.Linear(4, 6),
    }
    graph = neuro.Graph(nodes, [("input", "q"), ("q", "loop"), ("loop", "q", 1e-3), ("q", "output")])
    net = trained(
        block, neuro.Sequential(graph, neuro.Linear(4, 5), BatchNorm(5), neuro.LIF(5, tau=1.2e-3, v_threshold=0.3))
    )
    made = same_spikes(net, noise(30, 4, 6, size=6.0))
    assert [n for n, _ in leaves(made)] == [n for n, m in leaves(net) if not isinstance(m, BatchNorm)]


def test_a_normalisation_that_stands_alone_in_a_block_is_named() -> None:
    with pytest.raises(
        InputError, match=r"layer '0.body' \(BatchNorm\) cannot be folded: it stands alone in a Residual"
    ):
        fold(neuro.Sequential(neuro.Residual(BatchNorm(3)), neuro.LIF(3)))


@pytest.mark.parametrize("pool", [neuro.AvgPool2d(2), neuro.MaxPool2d(2), neuro.MaxPool2d(3, 2, 1)])
def test_behind_a_mean_or_a_maximum(pool: nn.Module) -> None:
    net = trained(neuro.Conv2d(2, 3, 3, padding=1), pool, BatchNorm(3), neuro.LIF((3, 3, 3), tau=1.5e-3))
    norm = net.layers["2"]
    assert isinstance(norm, BatchNorm)
    if isinstance(pool, neuro.MaxPool2d):
        norm.weight.data[1] = -0.5
        with pytest.raises(
            InputError, match=r"layer '2' \(BatchNorm\) cannot be folded: a maximum stands before it, and"
        ):
            fold(net)
        norm.weight.data.abs_()
    same_spikes(net, noise(20, 4, 2, 6, 6, size=3.0))
    with pytest.raises(InputError, match="no weights stand right before it"):
        fold(neuro.Sequential(neuro.Conv2d(2, 3, 3), neuro.AvgPool2d(2, 2, 1), norm))


def test_dropout_goes_and_one_step_neurons_become_cells(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = [
        neuro.Linear(6, 8),
        BatchNorm(8),
        neuro.Hoyer(8),
        neuro.Dropout(8, 0.5),
        neuro.Linear(8, 5),
        neuro.Hoyer(5),
    ]
    net, x = neuro.Sequential(*layers).double(), noise(20, 4, 6, size=2.0)
    with torch.no_grad():
        net.get_parameter("4.weight").mul_(4)
    for _ in range(3):
        net(x)  # its extrema are learned
    made = same_spikes(net.eval(), x)
    assert [type(m).__name__ for m in made.layers.values()] == ["Linear", "LIF", "Linear", "LIF"]
    made = fold(net.float())
    neuro.hardware.export(made, tmp_path / "net.nir")
    assert torch.equal(neuro.hardware.read(tmp_path / "net.nir")(x.float())[0], made(x.float())[0])
