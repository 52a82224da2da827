from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from neuro.cli.config import TrainConfig
from neuro.cli.config_file import load_settings, read_mapping, save_settings, to_yaml
from neuro.cli.settings import names
from neuro.errors import FileFormatError, InputError


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "c.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


configs = st.builds(
    TrainConfig,
    tau=st.floats(1e-12, 1e12),
    lr=st.floats(1e-300, 1e300),
    epochs=st.integers(1, 10**12),
    seed=st.integers(0, 2**32 - 1),
    hidden=st.lists(st.integers(1, 10**6), min_size=1, max_size=4).map(tuple),
    rule=st.sampled_from(names(TrainConfig.model_fields["rule"])),
    device=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    output=st.none() | st.text("ab/#: '\"{}[]-~.", min_size=1).map(Path),
)


@given(config=configs)
def test_what_is_saved_reads_back_equal(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.getbasetemp(), to_yaml(config))
    assert load_settings(TrainConfig, path) == config


def test_saved_file_is_plain_yaml_with_every_setting() -> None:
    text = to_yaml(TrainConfig(hidden=(3, 4)))
    assert list(yaml.safe_load(text)) == list(TrainConfig.model_fields)
    assert "hidden: [3, 4] # neurons of each hidden layer (a list of integers, each at least 1)\n" in text
    assert text.startswith("# data\n")


def test_saving_keeps_the_earlier_file_if_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.yaml"
    save_settings(TrainConfig(epochs=5), path)

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        save_settings(TrainConfig(epochs=6), path)
    monkeypatch.undo()
    assert load_settings(TrainConfig, path).epochs == 5
    assert [p.name for p in tmp_path.iterdir()] == ["c.yaml"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1.e2", 100.0), ("-2E+3", -2000.0), (".5e1", 5.0), ("0.25", 0.25), ("7", 7), ("1e", "1e")],
)
def test_numbers_are_read_as_people_write_them(tmp_path: Path, text: str, value: Any) -> None:
    read = read_mapping(write(tmp_path, f"x: {text}"))["x"]
    assert (read, type(read)) == (value, type(value))


def test_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert load_settings(TrainConfig, write(tmp_path, "# nothing\n")) == TrainConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML, line 1: expected the node content"),
        ("epochs: 3\nseed: 1\nepochs: 4", "not valid YAML, line 3: key 'epochs' stands twice"),
        ("? [a]\n: b", "not valid YAML, line 1: a key must be a name"),
        ("a: b: c", "not valid YAML, line 1: mapping values are not allowed here"),
        ("a: &x [*x]", "not valid YAML, line 1: found unconstructable recursive node"),
        ("a: !!python/object/apply:os.system [ls]", "not valid YAML, line 1: could not determine a constructor"),
        ("a: 2020-13-45", "not valid YAML, month must be in 1..12"),
        ("[" * 900, "not valid YAML, "),
        (b"a: \xff\xfe", "not valid YAML, "),
        ("a: \x01", "not valid YAML, unacceptable character"),
        ("- 1\n- 2", "must hold lines of the form `key: value`, holds list"),
        ("epochs", "must hold lines of the form `key: value`, holds str"),
    ],
)
def test_unreadable_files_are_named(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(FileFormatError) as caught:
        read_mapping(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read config .*none\.yaml: No such file"):
        read_mapping(tmp_path / "none.yaml")
    with pytest.raises(InputError, match=r"cannot read config .*: Is a directory"):
        read_mapping(tmp_path)


def test_every_choice_survives_the_file(tmp_path: Path) -> None:
    for key, info in TrainConfig.model_fields.items():
        for choice in get_args(info.annotation) if names(info) else ():
            path = write(tmp_path, f"{key}: {choice}")
            assert getattr(load_settings(TrainConfig, path), key) == choice
