from __future__ import annotations

import numpy as np

from neuro.report.content import Layer


def test_a_layer_counts_its_neurons() -> None:
    layer = Layer("0", "LIF", np.zeros((3, 8)), np.zeros((3, 8)), np.ones(8), (2, 2, 2))
    assert layer.neurons == 8
