from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from neuro.cli import env
from neuro.cli.env import environment

if TYPE_CHECKING:
    from tests.neuro.cli.conftest import Call


def test_lines_and_json_say_the_same(call: Call) -> None:
    found = json.loads(call("env", "--json").out)
    lines = call("env").out
    assert found["torch"] == torch.__version__
    assert found["python"].startswith(platform.python_version())
    assert found["threads"] == torch.get_num_threads()
    for key in ("neuro", "python", "cpu", "cores", "numba", "cupy", "gpu", "cuda", "host shim", "nvcc", "cache"):
        assert f"{key:10} {found[key]}\n" in lines


def test_extras_are_those_of_the_distribution() -> None:
    declared = set(metadata.metadata("neuro-spiking").get_all("Provides-Extra") or [])
    extras = environment()["extras"]
    assert set(extras) <= declared
    assert {"gpu", "hardware", "dev"} <= set(extras)
    assert extras["dev"]["pytest"] == metadata.version("pytest")


def test_missing_parts_are_named_with_their_cure(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "_version", lambda name: None if name == "tonic" else "1.0")
    monkeypatch.setattr(env, "find_spec", lambda _: None)
    lines = call("env").out
    assert "extra peers        missing tonic; pip install 'neuro-spiking[peers]'\n" in lines
    assert "extra hardware     complete\n" in lines
    assert "cupy       not installed; with an NVIDIA GPU: pip install 'neuro-spiking[gpu]'\n" in lines


def test_gpu_line_says_why_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert env._gpu() == "none: this build of torch is for the CPU only"
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert "no driver or no device" in env._gpu()


@pytest.mark.parametrize(
    ("device", "cupy", "text"),
    [
        (False, True, 'not available: no GPU (see above); kernels run on the CPU, backend="numba"'),
        (True, False, "not available: no CuPy (see above)"),
        (True, True, "available: kernels run on the GPU through CuPy"),
    ],
)
def test_cuda_line_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, device: bool, cupy: bool, text: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device)
    monkeypatch.setattr(env, "find_spec", lambda _: object() if cupy else None)
    assert env._cuda() == text


def test_compiler_lines_name_the_compiler_or_the_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert env._host_shim().endswith("install g++, or set CXX")
    assert env._nvcc().endswith("install the CUDA toolkit")
    monkeypatch.setenv("CXX", "/opt/c++")
    assert env._host_shim() == "available: /opt/c++"
    (tmp_path / "nvcc").write_text("#!/bin/sh\necho Cuda compilation tools, release 12.9, V12.9.1\n")
    (tmp_path / "nvcc").chmod(0o755)
    assert env._nvcc() == f"available: {tmp_path / 'nvcc'}, release 12.9"


def test_without_a_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "_DISTRIBUTION", "no-such-distribution")
    found = environment()
    assert (found["neuro"], found["extras"]) == ("not installed, run from a checkout", {})
