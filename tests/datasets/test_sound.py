"""WAV files: samples as they were written, and what is no such file by name."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from neuro.datasets.sound import read_wav
from neuro.errors import FileFormatError, InputError


def written(path: Path, samples: list[int], *, channels: int = 1, width: int = 2, rate: int = 11025) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.array(samples, f"<i{width}").tobytes())
    return path


def test_samples_and_rate_are_those_written(tmp_path: Path) -> None:
    sound = read_wav(written(tmp_path / "a.wav", [0, 16384, -32768, 32767]))
    assert sound.sample_rate == 11025
    assert sound.samples.tolist() == [0.0, 0.5, -1.0, 32767 / 32768]


def test_bytes_from_elsewhere_are_read_under_the_name(tmp_path: Path) -> None:
    content = written(tmp_path / "a.wav", [1, 2, 3]).read_bytes()
    assert np.array_equal(read_wav("archive/b.wav", content).samples * 32768, [1, 2, 3])
    with pytest.raises(FileFormatError, match=r"archive/b\.wav: "):
        read_wav("archive/b.wav", content[:-1])


@pytest.mark.parametrize(
    ("options", "text"),
    [({"channels": 2}, "2 channels of 16 bits; it must be one"), ({"width": 4}, "1 channels of 32 bits")],
)
def test_other_encodings_are_refused(tmp_path: Path, options: dict[str, int], text: str) -> None:
    with pytest.raises(FileFormatError, match=rf"a\.wav: {text}"):
        read_wav(written(tmp_path / "a.wav", [0, 0, 0, 0], **options))


@pytest.mark.parametrize(
    ("length", "text"), [(0, "not a whole WAV"), (20, "not a whole WAV"), (50, "truncated: 3 of 8")]
)
def test_a_file_cut_short_is_named(tmp_path: Path, length: int, text: str) -> None:
    path = written(tmp_path / "cut.wav", [1] * 8)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(FileFormatError, match=rf"cut\.wav: {text}"):
        read_wav(path)


def test_what_is_no_sound_or_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not a sound at all, but long enough to look at")
    with pytest.raises(FileFormatError, match=r"text\.wav: not a whole WAV"):
        read_wav(tmp_path / "text.wav")
    with pytest.raises(FileFormatError, match=r"none\.wav: truncated: 0 of 0"):
        read_wav(written(tmp_path / "none.wav", []))
    with pytest.raises(InputError, match=r"gone\.wav: cannot read the recording \(No such file"):
        read_wav(tmp_path / "gone.wav")
