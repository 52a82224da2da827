"""What the proofs of the rules share, as a fixture."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def proofs() -> ModuleType:
    """The module ``proofs.py`` beside this file."""
    spec = importlib.util.spec_from_file_location("rule_proofs", Path(__file__).with_name("proofs.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
