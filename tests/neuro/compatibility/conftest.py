"""A network of another library beside the one made of it: spikes, membranes and gradients."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

import neuro
from neuro.compatibility import Loaded

STEPS, BATCH = 50, 3
ENVIRONMENTS = Path(__file__).resolve().parents[3] / ".venv-peers"

Run = Callable[[Tensor], Tensor]
Check = Callable[..., Tensor]


@pytest.fixture
def same() -> Check:
    """Checker of (ours, theirs as a function of [T, B, ...], size of the input, their parameters by our name).

    Outputs are equal to the bit for spikes (or where ``exact``), gradients of the input and of all parameters
    that train to 1e-5 in float32 (1e-4 for one number) and 1e-9 in float64, in the norm. Returns the output.
    """

    def check(
        loaded: Loaded,
        theirs: Run,
        size: tuple[int, ...],
        parameters: Mapping[str, Tensor],
        *,
        exact: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        draw = torch.Generator().manual_seed(5)
        x = torch.randn((STEPS, BATCH, *size), generator=draw, dtype=dtype).requires_grad_()
        expected = theirs(x)
        made, _ = loaded.net(x, route=loaded.route)
        if exact:
            assert torch.equal(made, expected.to(dtype))
        else:
            assert_near(made.detach(), expected.detach(), 1e-6 if dtype == torch.float32 else 1e-12)
        weights = torch.rand(made.shape, generator=draw, dtype=dtype)  # of one sign: sums that do not cancel
        ours = dict(loaded.net.named_parameters())
        assert {n for n, p in ours.items() if p.requires_grad} == parameters.keys()
        wanted = torch.autograd.grad((expected * weights).sum(), [x, *parameters.values()])
        found = torch.autograd.grad((made * weights).sum(), [x, *(ours[n] for n in parameters)])
        for name, a, b in zip(["x", *parameters], found, wanted, strict=True):
            assert float(b.norm()) > 0, name
            # The gradient of one number shared by all neurons is a long sum in which terms cancel.
            loose = 1e-4 if a.numel() == 1 else 1e-5
            assert_near(a, b.reshape(a.shape), loose if dtype == torch.float32 else 1e-9, name)
        output: Tensor = made.detach()
        return output

    return check


@pytest.fixture
def membranes() -> Callable[[neuro.Sequential, Tensor], Tensor]:
    """Membrane of the one cell of a network after each step ``[T, B, N]``, after its reset."""

    def traced(net: neuro.Sequential, x: Tensor) -> Tensor:
        (cell,) = net.cells.values()
        where = cell.equations.states.index("v")
        state, made = None, []
        with torch.no_grad():
            for step in x:
                _, state = net.step(step, state)
                assert state[0] is not None
                made.append(state[0][where])
        return torch.stack(made)

    return traced


def assert_near(found: Tensor, expected: Tensor, tolerance: float, name: str = "") -> None:
    assert float((found - expected).norm() / expected.norm()) < tolerance, name


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], ModuleType]:
    """Importer of (a library that has an environment of its own, one of its modules); skips without it.

    Everything that both environments have comes from ours: theirs stands last on the path.
    """

    def load(name: str, module: str) -> ModuleType:
        folder = next((ENVIRONMENTS / name).glob("lib/python3*/site-packages"), None)
        if folder is None or not (folder / name).is_dir():
            pytest.skip(f"{name} is not installed under .venv-peers; `make test-peers` does it")
        monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)

    return load
