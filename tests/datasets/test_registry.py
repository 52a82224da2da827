"""Data sets by name."""

from __future__ import annotations

from pathlib import Path

import pytest

import neuro.datasets
from neuro.datasets.registry import DATASETS, load
from neuro.errors import InputError


def test_load_is_the_constructor_by_name(tmp_path: Path) -> None:
    sensor = neuro.datasets.SensorConfig(sample_step=20e-3)
    data = load("digits", cache=tmp_path, size=8, sensor=sensor, layout="frames")
    assert data.train.shape == (60, 2, 8, 8)
    assert DATASETS["digits"] is neuro.datasets.digits


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("digit", {}, "unknown dataset 'digit'; did you mean 'digits'"),
        ("digits", {"sed": 1}, "unknown option of dataset 'digits' 'sed'; did you mean 'seed'"),
    ],
)
def test_unknown_names_suggest_the_nearest(name: str, options: dict[str, int], text: str) -> None:
    with pytest.raises(InputError, match=text):
        load(name, **options)


def test_every_name_the_package_lists_is_there() -> None:
    for name in neuro.datasets.__all__:
        assert getattr(neuro.datasets, name) is not None
    assert callable(neuro.datasets.digits)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        getattr(neuro.datasets, "nonsense")  # noqa: B009
