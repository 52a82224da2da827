"""``neuro env``: what a report of a problem should say about the machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from neuro.cli.command import Command, Parser
from neuro.cli.console import say

__all__ = ["command", "environment"]

_DISTRIBUTION = "neuro-spiking"
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+).*;.*extra == ['\"](?P<extra>[^'\"]+)")


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")


def environment() -> dict[str, Any]:
    """Versions, hardware, folders and extras, as plain values."""
    import numba
    import torch

    return {
        "neuro": _version(_DISTRIBUTION) or "not installed, run from a checkout",
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "lightning": _version("lightning"),
        "cupy": _cupy(),
        "gpu": _gpu(),
        "cuda": _cuda(),
        "host shim": _host_shim(),
        "nvcc": _nvcc(),
        "cache": str(_cache()),
        "extras": _extras(),
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _cupy() -> str:
    if find_spec("cupy") is None:
        return f"not installed; with an NVIDIA GPU: pip install '{_DISTRIBUTION}[gpu]'"
    try:
        return str(import_module("cupy").__version__)
    except ImportError as error:
        return f"installed, but cannot be imported ({' '.join(str(error).split())})"


def _gpu() -> str:
    import torch

    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count()))
    if torch.version.cuda is None:
        return "none: this build of torch is for the CPU only"
    return f"none: torch is built for CUDA {torch.version.cuda}, but finds no driver or no device"


def _cuda() -> str:
    """Whether kernels run on a GPU: that takes a device torch sees, and CuPy."""
    import torch

    if not torch.cuda.is_available():
        return 'not available: no GPU (see above); kernels run on the CPU, backend="numba"'
    if find_spec("cupy") is None:
        return "not available: no CuPy (see above)"
    return "available: kernels run on the GPU through CuPy"


def _host_shim() -> str:
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return "not available: no C++ compiler to run CUDA sources on the CPU in tests; install g++, or set CXX"
    return f"available: {compiler}"


def _nvcc() -> str:
    found = shutil.which("nvcc")
    if found is None:
        return "not available: tests do not compile CUDA sources to device code; install the CUDA toolkit"
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    release = re.search(r"release ([0-9.]+)", said)
    return f"available: {found}" + (f", release {release[1]}" if release else "")


def _cache() -> Path:
    from neuro.files import cache_folder

    return cache_folder()


def _extras() -> dict[str, dict[str, str | None]]:
    """For every extra the distributions it asks for, and which version of each is here."""
    try:
        asked = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    extras: dict[str, dict[str, str | None]] = {}
    for text in asked:
        found = _REQUIREMENT.match(text)
        if found:
            extras.setdefault(found["extra"], {})[found["name"]] = _version(found["name"])
    return extras


def _run(arguments: argparse.Namespace) -> int:
    found = environment()
    if arguments.json:
        say(json.dumps(found, indent=2))
        return 0
    extras = found.pop("extras")
    for key, value in found.items():
        say(f"{key:10} {value}")
    for extra, versions in sorted(extras.items()):
        missing = sorted(name for name, version in versions.items() if version is None)
        state = "complete" if not missing else "missing " + ", ".join(missing)
        cure = f"; pip install '{_DISTRIBUTION}[{extra}]'" if missing else ""
        say(f"extra {extra:12} {state}{cure}")
    return 0


command = Command(
    name="env",
    summary="print versions, hardware, folders and optional parts",
    description=(
        "Print what a report of a problem should contain: versions, CPU and threads, the GPU or why there is none, cache\n"
        "folder, and which optional parts (extras) are installed. Nothing is changed."
    ),
    examples=(("neuro env", "for people"), ("neuro env --json", "for programs")),
    add_arguments=_add_arguments,
    run=_run,
)
