"""Norse and snnTorch on the same file. Skipped where they are not installed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import neuro
from neuro.hardware import Agreement, Row, compare, export
from neuro.hardware.judges import JUDGES, JudgeError, Reading

Maker = Callable[..., neuro.Sequential]
Poisson = Callable[..., Tensor]

pytestmark = [pytest.mark.peers, pytest.mark.parametrize("name", [*JUDGES])]


@pytest.fixture(autouse=True)
def installed(name: str) -> None:
    if JUDGES[name].version is None:
        pytest.skip(f"{JUDGES[name].package} is not installed: {JUDGES[name].install}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.nir"


def best(result: Agreement) -> list[Row]:
    """Rows of the last reading: the one in which most was made expressible."""
    last = result.rows[-1].reader
    return [row for row in result.rows if row.reader == last]


def run(net: neuro.Sequential, path: Path, x: Tensor, name: str) -> Agreement:
    export(net, path, allow=("reset",))
    return compare(net, path, x, judges=(name,), batch=5)


def test_what_all_can_express_is_exact(name: str, spiking: Maker, poisson: Poisson, path: Path) -> None:
    """Forward Euler, reset to 0, r = 1: the same spikes but for rounding."""
    rows = best(run(spiking(), path, poisson(60, 12, 12), name))
    assert [row.layer for row in rows] == ["1", "3"]
    for row in rows:
        assert row.here is not None
        assert row.here > 50
        assert row.equal == 1.0 or row.reason.startswith(("rounding", "follows"))


def test_a_judge_of_another_time_step_is_shown_as_it_is_and_scaled(
    name: str, spiking: Maker, poisson: Poisson, path: Path
) -> None:
    result = run(spiking(), path, poisson(60, 12, 12), name)
    readers = list(dict.fromkeys(row.reader for row in result.rows))
    label = f"{name} {JUDGES[name].version}"
    if JUDGES[name].own_dt is None:
        assert readers == ["neuro, read back", label]
        return
    assert readers == ["neuro, read back", label, f"{label}, prepared: dt and tau times 0.1"]
    as_is = [row for row in result.rows if row.reader == label]
    assert as_is[0].reason.startswith("dt taken as 0.0001 s, here 0.001 s")
    assert as_is[0].samples_equal == 0


def test_a_gain_of_its_own_per_neuron_goes_into_the_weights(
    name: str, spiking: Maker, poisson: Poisson, path: Path
) -> None:
    net = spiking(r=2.5)
    with torch.no_grad():
        net.get_parameter("1.log_tau").add_(torch.linspace(-0.5, 0.5, 7))
    result = run(net, path, poisson(60, 12, 12), name)
    rows = best(result)
    assert rows[0].reader.endswith("r in the weights")
    assert all(row.equal == 1.0 or row.reason.startswith(("rounding", "follows")) for row in rows)
    as_is = next(row for row in result.rows if row.reader == f"{name} {JUDGES[name].version}")
    expected = {"norse": "r taken as 1, here 2.5", "snntorch": "input gain r/tau taken as its smallest value"}
    assert expected[name] in as_is.reason


def test_flatten_is_refused_as_it_is_and_runs_when_it_counts_the_batch(name: str, poisson: Poisson, path: Path) -> None:
    torch.manual_seed(0)
    net = neuro.Sequential(
        neuro.Conv2d(2, 3, 3, padding=1), neuro.LIF((3, 6, 6)), neuro.SumPool2d(2), neuro.Flatten(),
        neuro.Linear(27, 5), neuro.LIF(5),
    )  # fmt: skip
    with torch.no_grad():
        net.get_parameter("0.weight").mul_(60)
        net.get_parameter("4.weight").mul_(40)
    result = run(net, path, poisson(40, 6, 2, 6, 6), name)
    rows = best(result)
    assert "Flatten counts the axis of the batch" in rows[0].reader
    assert [row.layer for row in rows] == ["1", "5"]
    for row in rows:
        assert row.here is not None
        assert row.here > 50
        assert row.equal == 1.0 or row.reason.startswith(("rounding", "follows"))
    as_is = [row for row in result.rows if row.reader == f"{name} {JUDGES[name].version}"]
    assert as_is[1].equal is None
    assert as_is[1].reason.startswith("refused: RuntimeError: mat1 and mat2 shapes")


def test_a_reset_elsewhere_is_ignored_and_said(name: str, spiking: Maker, poisson: Poisson, path: Path) -> None:
    rows = best(run(spiking(v_reset=-0.5), path, poisson(60, 12, 12, rate=0.4), name))
    assert rows[0].reason.startswith("v_reset taken as 0, here -0.5")
    assert rows[0].samples_equal is not None
    assert rows[0].samples_equal < 12


def test_an_unsupported_output_layer_is_a_row(name: str, spiking: Maker, poisson: Poisson, path: Path) -> None:
    net = neuro.Sequential(*list(spiking().layers.values())[:3], neuro.LI(4))
    rows = best(run(net, path, poisson(40, 6, 12), name))
    assert [(row.layer, row.quantity) for row in rows] == [("1", "spikes"), ("3", "membrane")]
    assert rows[0].equal == 1.0
    assert rows[1].equal is None
    said = {"norse": "refused: has no module for a LI node", "snntorch": "refused: ValueError: Unknown node type"}
    assert rows[1].reason.startswith(said[name])


def test_all_layers_can_be_refused(name: str, path: Path, poisson: Poisson) -> None:
    net = neuro.Sequential(neuro.Linear(12, 4), neuro.LI(4))
    rows = best(run(net, path, poisson(20, 2, 12), name))
    assert [(row.layer, row.equal, row.there) for row in rows] == [("1", None, None)]


def test_states_do_not_leak_from_part_to_part(name: str, spiking: Maker, poisson: Poisson, path: Path) -> None:
    net, x = spiking(), poisson(30, 6, 12)
    export(net, path)
    reading = Reading(JUDGES[name], path, dt=net.dt, prepared=True)
    whole = reading.run(x, ["1", "3"])
    assert all(torch.equal(reading.run(x, ["1", "3"])[k], whole[k]) for k in whole)
    parts = [reading.run(x[:, k : k + 3], ["1"])["1"] for k in (0, 3)]
    assert torch.equal(torch.cat(parts, 1), whole["1"])


def test_judges_are_silent_and_leave_nothing(
    name: str, spiking: Maker, poisson: Poisson, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from snntorch._neurons.neurons import SpikingNeuron

    before = list(SpikingNeuron.instances)
    run(spiking(r=2.5), path, poisson(5, 2, 12), name)
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == 0
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        run_again = Reading(JUDGES[name], path, dt=1e-3)
        run_again.run(poisson(2, 2, 12), ["1"])
    assert seen == []
    assert [id(n) for n in SpikingNeuron.instances] == [id(n) for n in before]


def test_a_failure_is_told_in_the_librarys_words(name: str, spiking: Maker, path: Path) -> None:
    export(spiking(), path)
    with pytest.raises(JudgeError, match="RuntimeError: mat1 and mat2 shapes cannot be multiplied"):
        Reading(JUDGES[name], path, dt=1e-3).run(torch.zeros(3, 2, 11), ["1"])
