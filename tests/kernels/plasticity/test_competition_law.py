"""The law of competition refuses what makes no sense, and gives the loops their numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from neuro.errors import InputError
from neuro.kernels.plasticity.competition_law import CompetitionLaw


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"dt": 0.0}, "dt must be above 0"),
        ({"rate": -1.0}, "rate must be finite and not negative"),
        ({"rest": math.nan}, "rest must be finite"),
        ({"least": -1}, "least must be a whole number, 0 or more"),
        ({"attempts": 0}, "attempts must be a whole number, 1 or more"),
        ({"attempts": 1.5}, "attempts must be a whole number"),
        ({"reset": -40e-3}, "threshold must be above rest and reset"),
        ({"duration": 1e-4}, "duration must be a step"),
    ],
)
def test_bad_values_are_named(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        CompetitionLaw(**wrong)


def test_numbers_and_traces() -> None:
    law = CompetitionLaw(dt=0.5e-3, duration=0.02, pause=0.03, tau=0.05, tau_theta=2.0, tau_before=30e-3)
    assert law.steps == 40
    assert law.numbers()[0] == pytest.approx(0.01)
    assert law.numbers()[10] == pytest.approx(math.exp(-0.05 / 2.0))
    traces = law.traces()
    assert [len(trace) for trace in traces] == [40, 40, 40]
    assert traces[2][6] == pytest.approx(math.exp(-0.1))
