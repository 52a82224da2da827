"""What has one axis of space, or a weight for each neuron, as other libraries write it."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest
import torch

from neuro.errors import InputError
from neuro.hardware.nir_read import read


def one_axis(path: Path, **changed: object) -> Path:
    """A file of a Scale and a Conv1d, as another library may write it; input (2, 9)."""
    weight, scale = np.arange(18, dtype=np.float32).reshape(3, 2, 3), np.linspace(1, 2, 18, dtype=np.float32)
    options: dict[str, object] = {
        "input_shape": 9, "stride": 1, "padding": "same", "dilation": 1, "groups": 1, "bias": np.ones(3, np.float32),
    }  # fmt: skip
    options |= {k: v for k, v in changed.items() if k != "scale"}
    graph = {
        "in": nir.Input({"input": np.array([2, 9])}),
        "gain": nir.Scale(changed.get("scale", scale.reshape(2, 9))),
        "conv": nir.Conv1d(weight=weight, **options),
        "out": nir.Output({"output": np.array([3, 9])}),
    }
    nir.write(path, nir.NIRGraph(graph, [("in", "gain"), ("gain", "conv"), ("conv", "out")], type_check=False))
    return path


def test_scale_and_convolution_along_one_axis(tmp_path: Path) -> None:
    net = read(one_axis(tmp_path / "a.nir"))
    x = torch.rand(4, 2, 2, 9)
    weight = torch.arange(18.0).reshape(3, 2, 3)
    scaled = (x * torch.linspace(1, 2, 18).reshape(2, 9)).flatten(0, 1)
    wanted = torch.nn.functional.conv1d(scaled, weight, torch.ones(3), padding=1).view(4, 2, 3, 9)
    assert torch.allclose(net(x)[0], wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dilation": 2}, "field 'dilation' = 2 is not 1"),
        ({"groups": 2}, "field 'groups' = 2 is not 1"),
        ({"stride": 2}, "is not a padding in pixels"),
        ({"padding": -1}, "padding must be at least 0, got -1"),
        ({"bias": np.ones(2, np.float32)}, r"not \(out, in, length\) and \(out,\)"),
        ({"scale": np.ones(3, np.float32)}, r"field 'scale' has the shape \(3,\), but \(2, 9\) comes in"),
    ],
)
def test_one_axis_that_is_not_ours_is_refused(changed: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read(one_axis(tmp_path / "a.nir", **changed))
