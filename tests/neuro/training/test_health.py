"""Dead and saturated neurons are counted and warned of; a value that is not finite is found and named."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.training.health import LayerHealth, SpikeWatch, first_fault


def net_of(drives: list[float]) -> neuro.Sequential:
    """One neuron for each drive; an input of ones gives it that current."""
    net = neuro.Sequential(neuro.OneToOne(len(drives)), neuro.IF(len(drives)), neuro.LI(len(drives)))
    with torch.no_grad():
        net.get_parameter("0.weight").copy_(torch.tensor(drives))
    return net


def test_counts_over_batches_by_hand() -> None:
    net = net_of([0.0, 1e6, 300.0, -5.0])  # silent, in every step, every third step or so, silent
    watch = SpikeWatch(net)
    with watch.watch():
        net(torch.ones(30, 2, 4))
        net(torch.zeros(3, 1, 4))
    (row,) = watch.layers()  # the leaky integrator does not spike
    assert row == LayerHealth("1", "IF", neurons=4, dead=2, saturated=1)
    net(torch.ones(30, 2, 4))
    assert watch.layers() == (row,)  # nothing is counted outside of the block


@pytest.mark.parametrize(
    ("dead", "saturated", "said"),
    [(6, 0, r"6 of 8 neurons never spiked .*--rate-low"), (1, 6, r"6 of 8 .* nearly every step .*--rate-high")],
)
def test_warnings_name_layer_numbers_and_cure(dead: int, saturated: int, said: str) -> None:
    warning = LayerHealth("hidden", "LIF", 8, dead, saturated).warning()
    assert warning is not None
    assert warning.startswith("layer 'hidden' (LIF): ")
    assert re.search(said, warning)
    assert LayerHealth("hidden", "LIF", 8, 5, 5).warning() is None


def test_training_warns_once_of_a_dead_layer(toy: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    net = toy.make_net()
    with torch.no_grad():
        net.get_parameter("in.weight").zero_()
        net.get_parameter("in.bias").fill_(-1.0)
    with caplog.at_level(logging.WARNING):
        neuro.fit(net, toy.make_data(), epochs=2, lr=1e-9, calibrated=True)
    warned = [r.getMessage() for r in caplog.records if "never spiked" in r.getMessage()]
    assert [w.split(":")[1].strip() for w in warned] == ["layer 'hidden' (LIF)", "layer 'vote' (LIF)"]
    assert all(w.startswith("after epoch 1") for w in warned)


def test_where_values_stop_being_finite() -> None:
    net = neuro.Sequential({"a": neuro.Linear(3, 4), "cell": neuro.LIF(4), "b": neuro.Linear(4, 2), "out": neuro.LI(2)})
    x = torch.rand(5, 2, 3)
    assert "it is the loss or the way back" in first_fault(net, x)
    bad = x.clone()
    bad[3, 1, 2] = torch.nan
    assert "the input is nan at step 3 of sample 1" in first_fault(net, bad)
    handle = net.get_submodule("cell").register_forward_hook(lambda _m, _a, out: (out[0] / 0, out[1]))
    assert "layer 'cell' (LIF) is the first whose output is not finite" in first_fault(net, x)
    handle.remove()
    with torch.no_grad():
        net.get_parameter("b.weight")[0, 0] = torch.nan
    assert "b.weight is not finite" in first_fault(net, x)


def test_training_stops_names_the_layer_and_leaves_the_weights_from_before(toy: ModuleType, tmp_path: Path) -> None:
    net, data = toy.make_net(), toy.make_data()
    steps = []

    def burst(_layer: object, _arguments: object, out: torch.Tensor) -> torch.Tensor:
        steps.append(net.get_parameter("in.weight").detach().clone())
        return out * torch.nan if len(steps) > 3 else out

    net.get_submodule("out").register_forward_hook(burst)
    said = r"epoch 1, batch 4: layer 'out' \(Linear\) is the first whose output .*before_failure.safetensors and in net"
    with pytest.raises(InputError, match=said):
        neuro.fit(net, data, epochs=2, batch_size=8, output=tmp_path, calibrated=True)
    kept = neuro.load(tmp_path / "checkpoints" / "before_failure.safetensors")
    assert torch.equal(kept.get_parameter("in.weight"), steps[3])
    assert torch.equal(net.get_parameter("in.weight"), steps[3])
    assert not torch.equal(steps[3], steps[0])
    with pytest.raises(InputError, match="holds a run"):
        neuro.fit(toy.make_net(), data, epochs=1, output=tmp_path)


def test_weights_that_a_step_ruined_come_back_as_they_were_before_the_epoch(toy: ModuleType) -> None:
    net = toy.make_net()
    before = net.get_parameter("in.weight").detach().clone()
    with pytest.raises(
        InputError, match=r"weight is not finite any more\. The weights in net are those of before epoch 1"
    ):
        neuro.fit(net, toy.make_data(), epochs=1, batch_size=8, optimizer="sgd", lr=1e38, clip=1e38, calibrated=True)
    assert torch.equal(net.get_parameter("in.weight"), before)
