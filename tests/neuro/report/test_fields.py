"""Receptive fields are drawn side by side."""

from __future__ import annotations

import numpy as np
import pytest

from neuro.errors import InputError
from neuro.report.fields import receptive_fields


def test_each_field_stands_in_its_place() -> None:
    fields = np.arange(1.0, 1 + 5 * 3 * 4).reshape(5, 3, 4)
    drawn = receptive_fields(fields, columns=2)
    sheet = drawn.axes[0].images[0].get_array()
    assert sheet is not None
    assert sheet.shape == (3 * 4 - 1, 2 * 5 - 1)
    assert np.allclose(sheet[4:7, 5:9], fields[3] / fields[3].max())
    assert np.ma.getmaskarray(sheet)[8:, 5:].all()  # there is no sixth
    assert np.ma.getmaskarray(sheet)[3].all()  # between two rows
    assert drawn.axes[0].images[0].get_clim() == (0.0, 1.0)


def test_signs_have_colours_and_zero_is_no_trouble() -> None:
    fields = np.stack([np.zeros((2, 2)), [[-4.0, 2.0], [0.0, 1.0]]])
    image = receptive_fields(fields).axes[0].images[0]
    assert image.get_clim() == (-1.0, 1.0)
    sheet = image.get_array()
    assert sheet is not None
    assert sheet[0, 3] == -1.0
    assert sheet[0, 0] == 0.0


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="fields must be \\[N, H, W\\]"):
        receptive_fields(np.zeros((4, 4)))
    with pytest.raises(InputError, match="fields must be"):
        receptive_fields(np.zeros((0, 4, 4)))
