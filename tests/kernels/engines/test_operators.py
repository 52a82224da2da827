"""An operator is known to torch.library in full, and its first call does not bring in torch's compiler."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from neuro.kernels.engines.operators import operator


@operator("neuro_tests::scaled_square")
def scaled_square(x: Tensor, scale: float) -> Tensor:
    """``scale x^2``, through NumPy, which no tracer sees."""
    return torch.from_numpy(scale * x.detach().numpy() ** 2)


@scaled_square.register_fake
def _fake(x: Tensor, scale: float) -> Tensor:
    return x.new_empty(x.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, ctx.scale = inputs
    ctx.save_for_backward(x)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (x,) = ctx.saved_tensors
    return 2 * ctx.scale * x * grad, None


scaled_square.register_autograd(_backward, setup_context=_setup)


def test_it_is_registered_in_full() -> None:
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(scaled_square(x, 3.0), 3 * x**2)
    assert torch.autograd.gradcheck(lambda t: scaled_square(t, 3.0), (x,))
    torch.library.opcheck(torch.ops.neuro_tests.scaled_square.default, (x, 3.0))
    compiled = torch.compile(lambda t: scaled_square(t, 3.0).sum(), fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x), scaled_square(x, 3.0).sum())
    assert "NumPy" in str(scaled_square.__doc__)


def test_annotations_without_a_schema_are_refused() -> None:
    def bad(x: dict[str, int]) -> Tensor:
        return torch.zeros(len(x))

    with pytest.raises(ValueError, match="unsupported type"):
        operator("neuro_tests::bad")(bad)


def test_a_first_call_imports_no_compiler() -> None:
    code = (
        "import sys, torch, neuro; neuro.LIF(3)(torch.ones(2, 1, 3, requires_grad=True))[0].sum().backward(); "
        "print('torch._dynamo' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
