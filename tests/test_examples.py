"""The configurations in ``examples/``: each names settings that exist, and trains where its data are."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import neuro
from neuro.cli.assembly import build_network, load_data
from neuro.cli.config import TrainConfig
from neuro.cli.config_file import load_settings
from neuro.cli.settings import group
from neuro.datasets import Parts

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / "examples").glob("*.yaml"))
FEW = 96

each_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


class Few(NamedTuple):
    """A little of each part of a data set."""

    name: str
    classes: tuple[str, ...]
    train: list[tuple[torch.Tensor, int]]
    validation: list[tuple[torch.Tensor, int]]
    test: list[tuple[torch.Tensor, int]]


@cache
def read(data_settings: str) -> Parts[Any]:
    """The data set of a configuration, read once for all that share it."""
    return load_data(TrainConfig.model_validate_json(data_settings))


def data_of(config: TrainConfig) -> Parts[Any]:
    kept = [key for key, info in TrainConfig.model_fields.items() if group(info) in ("data", "augmentation")]
    return read(
        TrainConfig(**{key: getattr(config, key) for key in (*kept, "source", "convolutions")}).model_dump_json()
    )


def test_there_are_configurations() -> None:
    rules = {path.stem.rpartition("_")[::2] for path in CONFIGS}
    assert {("mnist", rule) for rule in ("bptt", "sltt", "ottt", "eprop", "decolle", "lls")} <= rules
    assert {("nmnist", rule) for rule in ("bptt", "sltt")} <= rules
    assert {("spoken_digits", rule) for rule in ("bptt", "sltt", "ottt", "eprop")} <= rules


@each_config
def test_a_configuration_names_settings_that_exist_and_itself(path: Path) -> None:
    config = load_settings(TrainConfig, path)  # refuses unknown names and values
    assert path.stem == f"{config.dataset}_{config.rule}"
    assert config.source is not None
    assert not config.source.is_absolute()  # found below $NEURO_DATA
    assert config.seed == 0
    shown = re.findall(r"neuro train --config (\S+)", path.read_text(encoding="utf-8"))
    assert shown == [path.relative_to(ROOT).as_posix()]


@pytest.mark.data
@each_config
def test_a_configuration_trains(path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURO_DATA", str(shared_data))
    config = load_settings(TrainConfig, path)
    data = data_of(config)
    parts = ([part[i] for i in range(FEW)] for part in (data.train, data.validation, data.test))
    net = build_network(config, data)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    few = Few(data.name, data.classes, *parts)
    made = neuro.fit(net, few, config.rule, config.loss, epochs=1, lr=config.lr, cell_lr=config.cell_lr, progress=False)
    [row] = made.history
    assert 0 < row["loss"] < 100
    weights = [name for name in before if name.endswith("weight")]
    assert all(not torch.equal(before[name], value) for name, value in net.state_dict().items() if name in weights)
    assert 0 <= made.validation_accuracy <= 1
