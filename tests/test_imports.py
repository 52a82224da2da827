"""What `import neuro` brings in, what it offers, and what works without the optional libraries."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

import neuro

HEAVY = ["cupy", "h5py", "lightning", "matplotlib", "nir", "norse", "numba", "sklearn", "snntorch", "sympy", "tonic"]
OPTIONAL = ["cupy", "nirtorch", "norse", "snntorch", "tensorboard", "tonic", "torchvision"]


def fresh(code: str) -> str:
    """Standard output of ``code`` in an interpreter of its own."""
    command = [sys.executable, "-P", "-W", "ignore", "-c", textwrap.dedent(code)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_import_brings_in_nothing_heavy() -> None:
    loaded = json.loads(fresh("import neuro, sys, json; print(json.dumps(sorted(sys.modules)))"))
    assert [name for name in HEAVY if name in loaded] == []


@pytest.mark.parametrize("name", neuro.__all__)
def test_every_exported_name_resolves(name: str) -> None:
    assert getattr(neuro, name) is not None


def test_dir_lists_what_is_exported() -> None:
    assert set(neuro.__all__) <= set(dir(neuro))


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        getattr(neuro, "nonsense")  # noqa: B009


def test_every_module_imports_without_the_optional_libraries() -> None:
    code = f"""
    import importlib, pkgutil, sys
    for name in {OPTIONAL!r}:
        sys.modules[name] = None        # makes `import name` an ImportError
    import neuro
    names = [m.name for m in pkgutil.walk_packages(neuro.__path__, "neuro.") if not m.name.endswith("__main__")]
    for name in names:
        importlib.import_module(name)
    print(len(names))
    """
    assert int(fresh(code)) > 20
