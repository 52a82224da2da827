from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import neuro
from neuro.cli.assembly import load_run
from neuro.cli.run import open_run

if TYPE_CHECKING:
    from tests.neuro.cli.conftest import Call, SmallDisk


def test_figures_agree_with_the_network(run: Path, call: Call) -> None:
    outcome = call("evaluate", run)
    assert (outcome.status, outcome.err) == (0, "")
    found = json.loads((run / "evaluation.json").read_text())
    opened = open_run(run)
    data, net = load_run(opened, opened.load_config())
    x, y = data.test.tensors()
    with torch.no_grad():
        predicted = net(x)[0].sum(0).argmax(1)
    assert (found["split"], found["samples"], len(y)) == ("test", 359, 359)
    assert found["accuracy"] == pytest.approx(float((predicted == y).float().mean()))
    assert f"test accuracy {100 * found['accuracy']:.2f} % of 359 samples" in outcome.out
    confusion = np.array(found["confusion"])
    assert confusion.sum() == 359
    assert confusion[3, 5] == int(((y == 3) & (predicted == 5)).sum())
    assert [row["samples"] for row in found["per_class"]] == confusion.sum(1).tolist()
    assert found["per_class"][7]["accuracy"] == confusion[7, 7] / confusion[7].sum()
    arrays = np.load(run / "evaluation.npz")
    assert (arrays["labels"] == y.numpy()).all()
    assert (arrays["predicted"] == predicted.numpy()).all()
    assert (arrays["logits"].argmax(1) == arrays["predicted"]).all()
    assert (arrays["confusion"] == confusion).all()


def test_activity_agrees_with_a_recording(run: Path, call: Call) -> None:
    assert call("evaluate", run).status == 0
    found = json.loads((run / "evaluation.json").read_text())
    opened = open_run(run)
    data, net = load_run(opened, opened.load_config())
    x, _ = data.test.tensors()
    spikes = neuro.record(net, x)["1"]["z"]
    cell = found["cells"][0]
    assert (cell["name"], cell["neurons"]) == ("1", 12)
    assert cell["spikes"] == pytest.approx(float(spikes.sum()) / 359)
    assert cell["rate_hz"] == pytest.approx(float(spikes.mean()) / 0.02)
    assert found["synapses"][0]["synops"] == pytest.approx(float(x.sum()) * 12 / 359)
    assert found["synapses"][0]["macs"] == 15 * 200 * 12
    assert found["macs"] == 15 * (200 * 12 + 12 * 10)


def test_needs_weights_of_this_network(run: Path, call: Call) -> None:
    weights = run / "network.safetensors"
    net = neuro.load(weights)
    neuro.save(neuro.Sequential(neuro.Linear(200, 10), neuro.LIF(10, dt=0.02)), weights)
    assert call("evaluate", run).complaint().startswith(f"{weights} holds another network than ")
    neuro.save(net, weights)
    weights.write_bytes(weights.read_bytes()[:-1])
    assert call("evaluate", run).complaint().startswith(f"{weights}: ")
    weights.unlink()
    line = f"{run} holds no weights (network.safetensors); train first: neuro train --resume --output {run}"
    assert call("evaluate", run).complaint() == line


def test_full_disk_keeps_the_earlier_evaluation(trained: Path, small_disk: SmallDisk, call: Call) -> None:
    with small_disk("64k") as disk:
        folder = disk / "run"
        folder.mkdir()
        for name in ("config.yaml", "network.safetensors"):
            (folder / name).write_bytes((trained / name).read_bytes())
        (folder / "evaluation.json").write_text("{}")
        room = 1024 * 60
        while room >= 512:  # leave less than a page
            try:
                with (folder / "ballast").open("ab") as stream:
                    stream.write(b"x" * room)
            except OSError:
                room //= 2
        assert call("evaluate", folder).complaint().startswith(f"disk full: 0.0 MB free for {folder}")
        assert (folder / "evaluation.json").read_text() == "{}"
        assert not list(folder.glob(".*"))
