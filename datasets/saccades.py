"""The N-MNIST recording protocol: a still picture, seen by an eye that makes three saccades.

N-MNIST was made with an event camera on a pan-tilt head in front of a monitor; three movements of 100 ms along
a triangle bring the view back to where it began (Orchard, Jayawant, Cohen & Thakor 2015, Front. Neurosci. 9:437).
The triangle below is the path of the picture over the sensor, measured as the centroid of the events of 300
published N-MNIST recordings, as a fraction of the sensor's width; the speed profile of each saccade
is the minimum-jerk one (Flash & Hogan 1985, J. Neurosci. 5:1688).
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro.errors import InputError

__all__ = ["SACCADES_DURATION", "SACCADE_DURATION", "render", "saccade_path"]

SACCADE_DURATION = 0.1
"""Duration of one saccade in seconds."""

TRIANGLE = ((-0.085, -0.05), (-0.005, 0.09), (0.09, -0.05))
"""Corners of the path (x to the right, y down), fractions of the sensor's width; it returns to the first."""

SACCADES_DURATION = SACCADE_DURATION * len(TRIANGLE)
"""Duration of the whole recording in seconds."""


def saccade_path(times: ArrayLike, width: float) -> NDArray[np.float64]:
    """Where the picture stands at each time.

    Args:
        times: seconds ``[K]``; before 0 and after :data:`SACCADES_DURATION` the picture rests.
        width: width of the sensor in pixels, which scales the path.

    Returns:
        Offset (x, y) of the picture from the centre of the sensor in pixels, ``[K, 2]``.

    >>> saccade_path([0.0, 0.1, 0.3], 100).round(9).tolist()
    [[-8.5, -5.0], [-0.5, 9.0], [-8.5, -5.0]]
    """
    corners = np.array([*TRIANGLE, TRIANGLE[0]])
    progress = np.clip(np.asarray(times, np.float64) / SACCADE_DURATION, 0.0, len(TRIANGLE))
    number = np.minimum(progress.astype(np.int64), len(TRIANGLE) - 1)
    part = progress - number
    smooth = part**3 * (10 - 15 * part + 6 * part**2)
    path: NDArray[np.float64] = corners[number] + smooth[:, None] * (corners[number + 1] - corners[number])
    return width * path


def render(
    picture: NDArray[np.float64], path: NDArray[np.float64], shape: tuple[int, int], scale: int = 1
) -> NDArray[np.float64]:
    """Video of a picture that moves over the sensor, by bilinear interpolation.

    Args:
        picture: intensity ``[h, w]`` float64 on a grid ``scale`` times finer than the sensor's, centred on the
            sensor where the offset is zero; around it everything is black.
        path: offsets (x, y) in sensor pixels, ``[K, 2]``.
        shape: sensor (height, width).
        scale: picture samples per sensor pixel along each axis.

    Returns:
        Intensity ``[K, H, W]`` float64.

    Raises:
        InputError: ``picture`` or ``path`` of another shape, ``scale`` below 1.

    >>> render(np.ones((2, 2)), np.array([[0.0, 0.0], [0.5, 0.0]]), (2, 4))[:, 0].tolist()
    [[0.0, 1.0, 1.0, 0.0], [0.0, 0.5, 1.0, 0.5]]
    """
    if picture.ndim != 2 or path.ndim != 2 or path.shape[1] != 2:
        raise InputError(f"picture must be [h, w] and path [K, 2], got {picture.shape} and {path.shape}")
    if scale < 1:
        raise InputError(f"scale must be at least 1, got {scale}")
    video = np.empty((len(path), *shape))
    _render(np.pad(picture, 1), path, scale, video)
    return video


@numba.njit(cache=True, nogil=True)
def _render(picture: NDArray[Any], path: NDArray[Any], scale: int, video: NDArray[Any]) -> None:
    """``picture`` has a black border one sample wide, at which everything outside is clamped."""
    rows, columns = picture.shape
    steps, height, width = video.shape
    for k in range(steps):
        top = (rows - 1) / 2 - ((height - 1) / 2 + path[k, 1]) * scale
        left = (columns - 1) / 2 - ((width - 1) / 2 + path[k, 0]) * scale
        row, column = math.floor(top), math.floor(left)
        down, right = top - row, left - column
        for i in range(height):
            r = row + i * scale
            upper, lower = picture[min(max(r, 0), rows - 1)], picture[min(max(r + 1, 0), rows - 1)]
            for j in range(width):
                c = column + j * scale
                c0, c1 = min(max(c, 0), columns - 1), min(max(c + 1, 0), columns - 1)
                above = upper[c0] + right * (upper[c1] - upper[c0])
                below = lower[c0] + right * (lower[c1] - lower[c0])
                video[k, i, j] = above + down * (below - above)
