"""What neurons look for in a picture: their weights, each as a picture."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from neuro.errors import InputError
from neuro.report.content import FloatArray
from neuro.report.style import WIDTH, bare, styled

__all__ = ["receptive_fields"]

_GAP = 1  # pixels between two fields


@styled
def receptive_fields(fields: FloatArray, *, columns: int | None = None) -> Figure:
    """Weights ``[N, H, W]`` of N neurons side by side, each scaled by its own largest: dark is strong.

    Weights of both signs are blue where positive and orange where negative.

    Args:
        fields: one picture for each neuron.
        columns: fields in a row; None, as many as make a square.

    Raises:
        InputError: no fields, or not three dimensions.

    >>> import numpy as np
    >>> receptive_fields(np.random.default_rng(0).random((6, 4, 5)), columns=3).axes[0].images[0].get_array().shape
    (9, 17)
    """
    if fields.ndim != 3 or not fields.size:
        raise InputError(f"fields must be [N, H, W], none of them 0, got {list(fields.shape)}")
    wide = columns or math.ceil(math.sqrt(len(fields)))
    rows = -(-len(fields) // wide)
    height, width = (size + _GAP for size in fields.shape[1:])
    sheet = np.full((rows * height - _GAP, wide * width - _GAP), np.nan)
    for k, field in enumerate(fields):
        top, left = k // wide * height, k % wide * width
        largest = max(float(np.abs(field).max()), np.finfo(float).tiny)
        sheet[top : top + field.shape[0], left : left + field.shape[1]] = field / largest
    signed = float(fields.min()) < 0
    size = min(WIDTH, 1.2 * wide)
    drawn = Figure(figsize=(size, size * sheet.shape[0] / sheet.shape[1]), layout="constrained")
    axes = drawn.subplots()
    axes.imshow(
        sheet, cmap="PuOr" if signed else "Blues", vmin=-1.0 if signed else 0.0, vmax=1.0, interpolation="nearest"
    )
    bare(axes)
    return drawn
