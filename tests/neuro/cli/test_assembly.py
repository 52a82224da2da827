from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import neuro
from neuro.cli import assembly
from neuro.cli.assembly import build_network, check_logger, choose_device, describe, load_data, load_run, use_threads
from neuro.cli.config import TrainConfig
from neuro.cli.run import open_run
from neuro.datasets import Splits
from neuro.errors import InputError

SMALL = TrainConfig(sensor_size=10, dt=0.02, hidden=(7, 5), tau=0.03, method="exponential", reset="subtract")


@pytest.fixture(scope="module")
def data(cache: Path) -> Splits:
    return load_data(SMALL.model_copy(update={"cache": cache}))


def test_data_follow_the_settings(data: Splits, cache: Path) -> None:
    assert (data.sensor_size, data.dt, data.train.shape) == ((10, 10, 2), 0.02, (15, 200))
    other = {"cache": cache, "contrast_threshold": 0.5, "threshold_mismatch": 0.1, "refractory": 0.01, "data_seed": 4}
    events = load_data(SMALL.model_copy(update=other)).train.events(0)
    assert len(events) < len(data.train.events(0))


def test_more_frames_than_memory(cache: Path) -> None:
    with pytest.raises(
        InputError, match=r"with dt 1e-06 s the frames .* take \d+ GB, this machine has \d+ GB of memory"
    ):
        load_data(SMALL.model_copy(update={"cache": cache, "dt": 1e-6}))


def test_network_follows_the_settings(data: Splits) -> None:
    net = build_network(SMALL.model_copy(update={"surrogate": "boxcar"}), data)
    kinds = [type(layer).__name__ for layer in net.layers.values()]
    assert kinds == ["Linear", "LIF", "Linear", "LIF", "Linear", "LIF"]
    assert [cell.size for cell in net.cells.values()] == [(7,), (5,), (10,)]
    for cell in net.cells.values():
        assert (cell.dt, cell.method, cell.reset, cell.surrogate.family) == (0.02, "exponential", "subtract", "boxcar")
        assert torch.allclose(cell.parameters_si()["tau"], torch.tensor(0.03))
    rows, total = describe(net)
    assert total == 200 * 7 + 7 + 7 * 5 + 5 + 5 * 10 + 10 + (7 + 5 + 10)
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize("loss", ["max_membrane", "mean_membrane", "last_membrane", "softmax_sum"])
def test_a_membrane_loss_ends_in_a_cell_that_does_not_spike(data: Splits, loss: str) -> None:
    net = build_network(SMALL.model_copy(update={"loss": loss}), data)
    last = list(net.cells.values())[-1]
    assert isinstance(last, neuro.LI)
    assert (last.dt, last.method) == (0.02, "exponential")


def test_the_seed_alone_decides_the_weights(data: Splits) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build_network(SMALL, data).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = build_network(SMALL, data).state_dict()
    other = build_network(SMALL.model_copy(update={"seed": 1}), data).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


@pytest.mark.parametrize("name", ["gpu", "cpu:0", "cuda:x", "cuda:", "", "CPU", "cuda:-1"])
def test_unknown_devices(name: str) -> None:
    with pytest.raises(InputError, match=r"unknown device .*\(known: cpu, cuda, cuda:0\)"):
        choose_device(name)


def test_absent_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"device 'cuda' is not there: .*; use --device cpu"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(InputError, match="device 'cuda:2' is not there; this machine has 2"):
        choose_device("cuda:2")


def test_a_logger_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    check_logger("tensorboard")
    monkeypatch.setattr(assembly, "find_spec", lambda _: None)
    check_logger("csv")
    with pytest.raises(InputError, match=r"pip install 'neuro-spiking\[tensorboard\]'"):
        check_logger("tensorboard")


def test_threads() -> None:
    before = torch.get_num_threads()
    cores = os.cpu_count() or 1
    try:
        use_threads(cores)
        assert torch.get_num_threads() == cores
        use_threads(0)
        assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)
    with pytest.raises(InputError, match=f"threads is {cores + 1}, but this machine has {cores} cores"):
        use_threads(cores + 1)


def test_load_run_refuses_weights_of_another_network(run: Path) -> None:
    opened = open_run(run)
    config = opened.load_config()
    data, net = load_run(opened, config)
    assert net.layers.keys() == build_network(config, data).layers.keys()
    for change, words in (
        ({"hidden": (13,)}, "out_features of layer '0' is 12, not 13"),
        ({"hidden": (12, 12)}, "out_features of layer '2' is 10, not 12"),
        ({"reset": "subtract"}, "reset of layer '1' is 'value', not 'subtract'"),
        ({"surrogate": "boxcar"}, "surrogate of layer '1' is {'family': 'atan'"),
        ({"loss": "max_membrane"}, "type of layer '3' is 'LIF', not 'LI'"),
    ):
        with pytest.raises(
            InputError, match=r"network\.safetensors holds another network than .*config\.yaml"
        ) as caught:
            load_run(opened, config.model_copy(update=change))
        assert words in str(caught.value)
