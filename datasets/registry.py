"""The data sets by name, for configurations and the command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from neuro.datasets.cochlea_digits import spoken_digits
from neuro.datasets.event_digits import digits
from neuro.datasets.pictures import mnist
from neuro.datasets.saccade_digits import nmnist
from neuro.datasets.splits import Parts
from neuro.errors import unknown_name

__all__ = ["DATASETS", "load"]

DATASETS: Mapping[str, Callable[..., Parts[Any]]] = MappingProxyType(
    {"digits": digits, "mnist": mnist, "nmnist": nmnist, "spoken_digits": spoken_digits}
)


def load(name: str, **options: Any) -> Parts[Any]:
    """Make the data set called ``name`` with the options of its constructor.

    Raises:
        InputError: no data set, or no option of it, has that name.

    >>> load("digit")
    Traceback (most recent call last):
    neuro.errors.InputError: unknown dataset 'digit'; did you mean 'digits'? (known: digits, mnist, nmnist, spoken_digits)
    """
    if name not in DATASETS:
        raise unknown_name("dataset", name, DATASETS)
    known = inspect.signature(DATASETS[name]).parameters
    for option in options:
        if option not in known:
            raise unknown_name(f"option of dataset {name!r}", option, known)
    return DATASETS[name](**options)
