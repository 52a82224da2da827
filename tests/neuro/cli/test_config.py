from __future__ import annotations

from dataclasses import fields

import pytest

from neuro.cli.config import MACHINE, TrainConfig
from neuro.cli.settings import names
from neuro.datasets import DATASETS, SensorConfig
from neuro.kernels.compiler.discretise import METHODS
from neuro.kernels.compiler.surrogate import SURROGATES
from neuro.neurons import LIF
from neuro.training.fit import LOGGERS
from neuro.training.losses import LOSSES
from neuro.training.optimizer import OPTIMIZERS, SCHEDULES
from neuro.training.recipe import PRECISIONS, SELECTIONS, Recipe
from neuro.training.rules import RULES


@pytest.mark.parametrize(
    ("key", "table"),
    [
        ("dataset", DATASETS),
        ("rule", RULES),
        ("loss", LOSSES),
        ("schedule", SCHEDULES),
        ("select", SELECTIONS),
        ("optimizer", OPTIMIZERS),
        ("precision", PRECISIONS),
        ("method", METHODS),
        ("surrogate", SURROGATES),
        ("logger", LOGGERS),
        ("reset", [*LIF.equations.reset_kinds]),
    ],
)
def test_choices_are_those_of_the_library(key: str, table: list[str]) -> None:
    assert set(names(TrainConfig.model_fields[key])) == set(table)


def test_defaults_are_those_of_the_library() -> None:
    config, recipe, sensor = TrainConfig(), Recipe(), SensorConfig()
    shared = [field.name for field in fields(Recipe) if field.name not in ("patience", "temperature", "regularisers")]
    assert {key: getattr(config, key) for key in shared} == {key: getattr(recipe, key) for key in shared}
    assert config.contrast_threshold == sensor.threshold_on == sensor.threshold_off
    assert (config.threshold_mismatch, config.refractory) == (sensor.mismatch, sensor.refractory)
    assert config.tau == LIF.equations.parameters["tau"].default


@pytest.mark.parametrize("key", TrainConfig.model_fields)
def test_every_setting_is_described(key: str) -> None:
    info = TrainConfig.model_fields[key]
    assert info.description
    assert isinstance(info.json_schema_extra, dict)
    assert info.json_schema_extra["group"]


def test_what_only_says_where_to_compute() -> None:
    assert {"cache", "device", "devices", "source", "threads"} == MACHINE
