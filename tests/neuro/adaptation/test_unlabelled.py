"""Adaptation without labels: nothing moves at rate 0, each part touches its own, and it helps where the input has changed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neuro
from neuro.adaptation import NHL, BatchStatistics, Tent, entropy
from neuro.errors import InputError
from neuro.network import Network
from neuro.training.losses import mean_membrane
from neuro.training.rules import BPTT


def network(norm: bool = True) -> neuro.Sequential:
    torch.manual_seed(0)
    middle: tuple[torch.nn.Module, ...] = (neuro.BatchNorm(8),) if norm else ()
    return neuro.Sequential(
        neuro.Conv2d(1, 8, 3, stride=2, padding=1, bias=False),
        *middle,
        neuro.LIF((8, 4, 4), tau=2e-3),
        neuro.Flatten(),
        neuro.Linear(128, 4),
        neuro.LI(4, tau=2e-3),
    )


def bars(count: int, seed: int, contrast: float = 1.0, noise: float = 0.2) -> tuple[Tensor, Tensor]:
    """``[5, count, 1, 8, 8]``: a bright bar across or down, in the first or the second half; and which it is."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (count,), generator=generator)
    x = noise * torch.randn(count, 8, 8, generator=generator)
    for k, kind in enumerate(y.tolist()):
        place = int(torch.randint(0, 4, (), generator=generator)) + 4 * (kind % 2)
        x[k, place] += float(kind < 2)
        x[k, :, place] += float(kind >= 2)
    return (contrast * x).view(1, count, 1, 8, 8).expand(5, -1, -1, -1, -1), y


@pytest.fixture(scope="module")
def trained() -> dict[str, Tensor]:
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for k in range(60):
        optimizer.zero_grad()
        BPTT().backward(net, *bars(64, seed=k), mean_membrane)
        optimizer.step()
    return net.state_dict()


def source(trained: dict[str, Tensor]) -> neuro.Sequential:
    net = network()
    net.load_state_dict(trained)
    return net.eval()


def right(run: BatchStatistics | Network, seed: int = 1000, contrast: float = 0.3) -> float:
    hits = 0
    for k in range(5):
        x, y = bars(64, seed + k, contrast)
        output = run(x)
        output = output[0] if isinstance(output, tuple) else output
        hits += int((mean_membrane.logits(output).argmax(1) == y).sum())
    return hits / 320


def test_it_helps_where_the_contrast_has_fallen(trained: dict[str, Tensor]) -> None:
    clean, plain = right(source(trained), contrast=1.0), right(source(trained))
    assert clean > 0.9
    assert plain < clean - 0.2
    for made in (BatchStatistics(source(trained)), Tent(source(trained)), NHL(source(trained))):
        assert right(made) > plain + 0.15


def test_at_rate_0_it_is_the_network_with_the_statistics_of_the_batch(trained: dict[str, Tensor]) -> None:
    x, _ = bars(40, seed=3)
    still, plain = NHL(source(trained), rate=0.0, lr=0.0), BatchStatistics(source(trained))
    assert torch.equal(still(x), plain(x))
    net = network(norm=False)
    bare = NHL(net, rate=0.0, lr=0.0, modulated=["3.bias"])
    assert torch.equal(bare(x), net(x)[0])


def test_each_part_touches_its_own(trained: dict[str, Tensor]) -> None:
    x, _ = bars(40, seed=3, contrast=0.4)
    by_method: dict[str, BatchStatistics] = {
        "none": BatchStatistics(source(trained)),
        "entropy": Tent(source(trained)),
        "hebbian": NHL(source(trained), lr=0.0),
        "both": NHL(source(trained)),
    }
    learned = {"none": set(), "entropy": {"1.weight", "1.bias"}, "hebbian": {"0.weight"}}
    learned["both"] = learned["entropy"] | learned["hebbian"]
    for name, method in by_method.items():
        method(x)
        moved = {n for n, p in method.net.named_parameters() if not torch.equal(p, trained[n])}
        assert moved == learned[name], name
        assert all(p.grad is None for p in method.net.parameters())
        assert not method.net.training
        method.reset()
        assert all(torch.equal(value, trained[n]) for n, value in method.net.state_dict().items())


def test_the_entropy_of_a_batch_falls(trained: dict[str, Tensor]) -> None:
    x, _ = bars(64, seed=3, contrast=0.4)
    method, found = Tent(source(trained), lr=1e-2), []
    for _ in range(6):
        found.append(float(entropy(mean_membrane.logits(method(x)))))
    assert found[-1] < found[0]
    assert float(entropy(torch.tensor([[0.0, 1e6]]))) == 0


def test_the_hebbian_change_is_the_rules_and_keeps_length_and_drift(trained: dict[str, Tensor]) -> None:
    x, _ = bars(30, seed=3)
    net = source(trained)
    NHL(net, lr=0.0, rate=1e-3, beta=3.0, drift=9.0)(x)
    start = trained["0.weight"].flatten(1).double()
    length = start.norm(dim=1, keepdim=True)
    weight = start / length
    patches = torch.nn.functional.unfold(x[0], 3, padding=1, stride=2).transpose(1, 2).flatten(0, 1).double()
    total = torch.zeros_like(weight)
    for row in patches / patches.norm(dim=1, keepdim=True):
        u = weight @ row
        p = torch.softmax(3.0 * u, 0)
        sign = torch.full_like(p, -1.0)
        sign[u.argmax()] = 1
        total += (sign * p).unsqueeze(1) * (row - u.unsqueeze(1) * weight)
    wanted = weight + 1e-3 * 8 * total / len(patches)
    wanted = wanted / wanted.norm(dim=1, keepdim=True) * length
    found = net.layers["0"].get_parameter("weight").detach().flatten(1).double()
    assert torch.allclose(found, wanted, rtol=0, atol=2e-7)
    assert not torch.allclose(found, start, rtol=0, atol=1e-5)
    held = NHL(source(trained), lr=0.0, rate=5.0, drift=0.05)
    for _ in range(3):
        held(x)
    far = held.net.layers["0"].get_parameter("weight").detach() - trained["0.weight"]
    assert float(far.norm() / trained["0.weight"].norm()) == pytest.approx(0.05, rel=1e-4)


def test_thresholds_can_follow_the_entropy() -> None:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.Linear(6, 9), neuro.LIF(9, learn=("v_threshold",)), neuro.Linear(9, 3), neuro.LI(3))
    torch.nn.init.uniform_(net.layers["0"].get_parameter("weight"), 0.0, 8.0)
    name = next(n for n, _ in net.named_parameters() if n.endswith("v_threshold"))
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    NHL(net, rate=0.0, lr=0.01, modulated=[name])(torch.rand(9, 5, 6))
    assert {n for n, p in net.named_parameters() if not torch.equal(p, before[n])} == {name}


def test_bad_options_are_named() -> None:
    bare = network(norm=False)
    with pytest.raises(InputError, match="no normalisation, so no statistics"):
        BatchStatistics(bare)
    with pytest.raises(InputError, match="name parameters with modulated="):
        Tent(bare)
    with pytest.raises(InputError, match=r"unknown parameter '1\.weigth'; did you mean '1\.weight'"):
        Tent(network(), modulated=["1.weigth"])
    with pytest.raises(InputError, match="lr must be 0 or more"):
        Tent(network(), lr=-1.0)
    with pytest.raises(InputError, match="layer '2' is LIF; NHL changes a Linear or Conv2d"):
        NHL(network(), hebbian="2")
    with pytest.raises(InputError, match="unknown layer 'conv'"):
        NHL(network(), hebbian="conv")
    with pytest.raises(InputError, match="rate and drift must be 0 or more"):
        NHL(network(), drift=-0.1)
