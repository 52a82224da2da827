"""The recording protocol: the path of the picture and its sub-pixel rendering."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from neuro.datasets.saccades import SACCADE_DURATION, SACCADES_DURATION, TRIANGLE, render, saccade_path
from neuro.errors import InputError


def test_three_saccades_of_a_tenth_of_a_second_close_a_triangle() -> None:
    corners = saccade_path(np.arange(4) * SACCADE_DURATION, 34)
    assert abs(SACCADES_DURATION - 0.3) < 1e-12
    assert np.allclose(corners, 34 * np.array([*TRIANGLE, TRIANGLE[0]]))


def test_each_saccade_is_straight_and_starts_and_ends_at_rest() -> None:
    times = np.linspace(0, SACCADES_DURATION, 3001)
    path = saccade_path(times, 20)
    speed = np.hypot(*(np.diff(path, axis=0) / np.diff(times)[:, None]).T)
    for k in range(3):
        saccade = path[1000 * k : 1000 * k + 1001]
        along = saccade[-1] - saccade[0]
        across = (saccade - saccade[0]) @ np.array([-along[1], along[0]])
        assert np.abs(across).max() < 1e-9
        assert speed[1000 * k] < 1e-3
        assert speed[1000 * k + 999] < 1e-3
        # minimum jerk: the peak speed is 15/8 of the mean speed, in the middle
        assert speed[1000 * k + 500] == pytest.approx(np.hypot(*along) / SACCADE_DURATION * 15 / 8, rel=1e-4)


def test_the_picture_rests_before_and_after() -> None:
    path = saccade_path([-1.0, 0.0, 0.3, 7.0], 50)
    assert np.allclose(path, path[0])


def test_whole_pixel_offsets_move_the_picture_right_and_down() -> None:
    picture = np.arange(1.0, 13.0).reshape(3, 4)
    still, moved = render(picture, np.array([[0.0, 0.0], [2.0, -1.0]]), (5, 8))
    assert np.array_equal(still, np.pad(picture, ((1, 1), (2, 2))))
    assert np.array_equal(moved, np.pad(picture, ((0, 2), (4, 0))))


def test_fractional_offsets_are_bilinear() -> None:
    picture = np.random.default_rng(0).random((6, 7))
    for offset in ([0.3, 0.0], [-1.7, 0.45], [9.2, -8.8]):
        ours = render(picture, np.array([offset]), (10, 9))[0]
        padded = np.pad(picture, ((2, 2), (1, 1)))
        expected = ndimage.shift(padded, (offset[1], offset[0]), order=1, mode="grid-constant")
        assert np.allclose(ours, expected, atol=1e-12)


def test_a_finer_picture_is_sampled_at_pixel_centres() -> None:
    ramp = np.tile(np.arange(12.0), (6, 1))  # two sensor pixels high, four wide, 3 samples each
    video = render(ramp, np.array([[0.0, 0.0], [1 / 3, 0.0]]), (2, 4), scale=3)
    assert np.allclose(video[0], [[1, 4, 7, 10]] * 2)
    assert np.allclose(video[1], [[0, 3, 6, 9]] * 2)


def test_light_is_conserved_while_the_picture_stays_inside() -> None:
    picture = np.random.default_rng(1).random((8, 8))
    path = saccade_path(np.linspace(0, SACCADES_DURATION, 50), 24)
    video = render(picture, path, (24, 24))
    assert np.allclose(video.sum((1, 2)), picture.sum())


def test_misshapen_arguments_are_refused() -> None:
    with pytest.raises(InputError, match=r"picture must be \[h, w\]"):
        render(np.ones((2, 2, 2)), np.zeros((1, 2)), (3, 3))
    with pytest.raises(InputError, match=r"path \[K, 2\]"):
        render(np.ones((2, 2)), np.zeros((4, 3)), (3, 3))
    with pytest.raises(InputError, match="scale must be at least 1, got 0"):
        render(np.ones((2, 2)), np.zeros((1, 2)), (3, 3), scale=0)
