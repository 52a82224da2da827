"""WAV recordings as samples."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuro.errors import FileFormatError, InputError

__all__ = ["Sound", "read_wav"]


class Sound(NamedTuple):
    """A recording of one channel.

    Attributes:
        samples: ``[K]`` float64, full scale is 1.
        sample_rate: in hertz.
    """

    samples: NDArray[np.float64]
    sample_rate: int


def read_wav(path: str | Path, content: bytes | None = None) -> Sound:
    """A WAV file of 16-bit PCM with one channel.

    Args:
        path: the file.
        content: its bytes, where they come from elsewhere (an archive) and ``path`` only names them.

    Raises:
        InputError: the file cannot be read.
        FileFormatError: not a WAV file, truncated, empty, or of another encoding; the message names the file.
    """
    source = Path(path)
    if content is None:
        try:
            content = source.read_bytes()
        except OSError as error:
            raise InputError(f"{source}: cannot read the recording ({error.strerror or error})") from error
    try:
        with wave.open(io.BytesIO(content)) as file:
            channels, width, rate, frames = file.getparams()[:4]
            data = file.readframes(frames)
    except (wave.Error, EOFError) as error:
        raise FileFormatError(source, f"not a whole WAV file of PCM ({str(error) or 'it ends too soon'})") from None
    if (channels, width) != (1, 2):
        raise FileFormatError(source, f"{channels} channels of {8 * width} bits; it must be one of 16 bits")
    if len(data) != 2 * frames or not frames:
        raise FileFormatError(source, f"truncated: {len(data) // 2} of {frames} samples are there")
    return Sound(np.frombuffer(data, "<i2") / 32768.0, rate)
