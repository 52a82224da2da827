from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from neuro.errors import FileFormatError, InputError
from neuro.hardware.nir_file import read_tree


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.nir"


def test_groups_numbers_and_text(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a/b"] = np.arange(6, dtype=np.float32).reshape(2, 3)
        file["a/n"] = 7
        file["word"] = "Affine"
        file["fixed"] = np.bytes_(b"LIF")
        file.create_dataset("pairs", data=[["x", "y"]], dtype=h5py.string_dtype())
        file["none"] = h5py.Empty("f")
    tree = read_tree(path)
    inner = tree["a"]
    assert isinstance(inner, dict)
    assert isinstance(inner["b"], np.ndarray)
    assert inner["b"].dtype == np.float32
    assert inner["b"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert inner["n"] == 7
    assert (tree["word"], tree["fixed"], tree["pairs"], tree["none"]) == ("Affine", "LIF", [["x", "y"]], None)


def test_no_file(path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_tree(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_tree(tmp_path)


@pytest.mark.parametrize(("content", "says"), [(b"", "it is empty"), (b"PK\x03\x04 a zip, say", "it starts with b'PK")])
def test_foreign_files(path: Path, content: bytes, says: str) -> None:
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="not an HDF5 file") as caught:
        read_tree(path)
    assert says in str(caught.value)
    assert caught.value.offset == 0


def test_truncation_anywhere_is_one_line_with_the_offset(every_kind_file: Path, path: Path) -> None:
    whole = every_kind_file.read_bytes()
    for size in (*range(1, 200, 7), *range(200, len(whole), len(whole) // 60), len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError) as caught:
            read_tree(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
    assert caught.value.offset == len(whole) - 1


def test_links_are_not_followed(path: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = 1
    for link in (h5py.ExternalLink("other.h5", "/secret"), h5py.SoftLink("/a")):
        with h5py.File(path, "w") as file:
            file["a"] = 1
            file["b"] = link
        with pytest.raises(FileFormatError, match=r"//?b is a link"):
            read_tree(path)


def test_a_group_inside_itself_ends(path: Path) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("a")
        group["again"] = group
        group["and again"] = group
    with pytest.raises(FileFormatError, match="contains itself"):
        read_tree(path)


def test_a_claim_larger_than_the_file_is_refused_before_memory_is_taken(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("huge", shape=(1 << 40,), dtype="f8", chunks=(1 << 10,))
    with pytest.raises(FileFormatError, match="huge claims 8796093022208 bytes"):
        read_tree(path)


def test_constant_arrays_may_be_packed_as_far_as_gzip_goes(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.ones(2_000_000, np.float32), compression="gzip", compression_opts=9)
    assert path.stat().st_size < 8_000_000 / 50
    assert np.all(np.asarray(read_tree(path)["a"]) == 1)


def test_types_that_nir_has_not(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["pairs"] = np.zeros(2, dtype=[("a", "i4"), ("b", "f4")])
    with pytest.raises(FileFormatError, match="NIR has numbers and text only"):
        read_tree(path)
    with h5py.File(path, "w") as file:
        file["t"] = np.dtype("f8")
    with pytest.raises(FileFormatError, match="neither a group nor a data set"):
        read_tree(path)
