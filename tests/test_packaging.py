"""The wheel and the sdist hold the tree, and the wheel works where the repository is not."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINKED = ("kernels", "datasets", "hardware")


def run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of the working tree and the wheel made from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-P", "-m", "build", "--outdir", out, ROOT, cwd=out)
    return out


def only(folder: Path, pattern: str) -> Path:
    [path] = folder.glob(pattern)
    return path


def shipped() -> set[str]:
    """The files a wheel must hold, by their names in it: all of the four rooms."""
    found = set[str]()
    for room in ("neuro", *LINKED):
        for path in (ROOT / room).rglob("*"):
            parts = path.relative_to(ROOT).parts
            if path.is_file() and "__pycache__" not in parts and not set(parts[1:]) & set(LINKED):
                found.add("/".join(parts if room == "neuro" else ("neuro", *parts)))
    return found


@pytest.mark.slow
def test_wheel_holds_the_tree(built: Path) -> None:
    with zipfile.ZipFile(only(built, "*.whl")) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
    assert names == shipped()


@pytest.mark.slow
def test_sdist_holds_real_folders(built: Path) -> None:
    with tarfile.open(only(built, "*.tar.gz")) as sdist:
        names = {member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()}
        assert not any(member.issym() for member in sdist.getmembers())
    assert {f"{room}/__init__.py" for room in LINKED} <= names
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names


@pytest.mark.slow
def test_wheel_works_in_a_fresh_environment(built: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "-qq", "--no-deps", only(built, "*.whl"), cwd=tmp_path)
    # The dependencies of this environment, without its editable install of the repository.
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = run(python, "-c", "import neuro.kernels as k; print(k.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(site)
    code = "import torch, neuro; z, _ = neuro.LIF(3)(torch.ones(5, 2, 3)); print(tuple(z.shape))"
    assert run(python, "-c", code, cwd=tmp_path).strip() == "(5, 2, 3)"
    assert "train" in run(python.with_name("neuro"), "--help", cwd=tmp_path)


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.lower().replace("_", "-").split("==") for line in lines if not line.startswith("#"))


def test_the_lock_names_a_torch_without_a_build_tag_and_nothing_of_cuda() -> None:
    assert pins()["torch"] == "2.13.0"
    assert [name for name in pins() if re.match(r"nvidia|cuda|triton|torchvision", name)] == []


def declared(*extras: str) -> set[str]:
    """Names of the distributions that the project needs, with those of the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = [*project["dependencies"], *(need for extra in extras for need in project["optional-dependencies"][extra])]
    return {re.split(r"[<>=!~ \[]", need)[0].lower() for need in needs}


def test_the_lock_pins_every_direct_dependency() -> None:
    assert declared("dev", "docs") - set(pins()) == set()


def imported() -> set[str]:
    """Top-level names of the libraries that the sources import."""
    names = set[str]()
    for room in ("neuro", *LINKED):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"neuro"}


def test_every_library_that_is_imported_is_declared() -> None:
    known = metadata.packages_distributions()
    distributions = {name: {found.lower() for found in known.get(name, [name])} for name in imported()}
    needed = declared("gpu", "hardware", "tensorboard") | {"cupy"}  # cupy's distributions carry the CUDA version
    assert [name for name, found in sorted(distributions.items()) if not found & needed] == []
