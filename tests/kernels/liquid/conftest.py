"""Problems for the tests of liquid cells."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neuro.kernels.liquid.ltc import Reach


class Problems:
    """Makers of problems, and what compares answers."""

    def ltc(
        self, shape: tuple[int, int, int, int, float], dtype: torch.dtype = torch.float64
    ) -> tuple[list[Tensor], Reach, Reach]:
        """``x, first, elapsed, neuron, synapses, sensory`` and the two reaches; all but the time want gradients."""
        time, batch, inputs, neurons, share = shape
        g = torch.Generator().manual_seed(7)

        def drawn(*size: int) -> Tensor:
            return torch.rand(size, generator=g, dtype=torch.float64)

        def values(number: int) -> Tensor:
            return torch.stack([drawn(number) - 0.5, 3 + 5 * drawn(number), drawn(number), 2 * drawn(number) - 1])

        reaches = Reach.of(drawn(neurons, neurons) < share), Reach.of(drawn(inputs, neurons) < share)
        neuron = torch.stack([drawn(neurons) + 0.4, drawn(neurons), drawn(neurons) - 0.5])
        tensors = [2 * drawn(time, batch, inputs) - 1, 2 * drawn(batch, neurons) - 1, 2 * drawn(time, batch), neuron]
        tensors += [values(reach.pre.shape[0]) for reach in reaches]
        made = [t.to(dtype) for t in tensors]
        return [t if k == 2 else t.requires_grad_() for k, t in enumerate(made)], *reaches

    def cfc(
        self, shape: tuple[int, int, int, int], mode: str = "default", dtype: torch.dtype = torch.float64
    ) -> list[Tensor]:
        """``drive, first, elapsed, w_state, w_heads, b_heads, extra`` for T, B, H, N; all but the time want gradients."""
        time, batch, hidden, neurons = shape
        g = torch.Generator().manual_seed(8)

        def drawn(*size: int) -> Tensor:
            return torch.randn(size, generator=g, dtype=torch.float64)

        heads = neurons * (1 if mode == "pure" else 4)
        tensors = [drawn(time, batch, hidden), drawn(batch, neurons), drawn(time, batch).abs()]
        tensors += [drawn(hidden, neurons) / 2, drawn(heads, hidden) / 2, drawn(heads)]
        tensors.append(drawn(2 if mode == "pure" else 0, neurons))
        made = [t.to(dtype) for t in tensors]
        return [t if k == 2 else t.requires_grad_() for k, t in enumerate(made)]

    def leaves(self, tensors: list[Tensor]) -> list[Tensor]:
        """Those of ``tensors`` that want gradients."""
        return [t for t in tensors if t.requires_grad]

    def gradients(self, out: Tensor, tensors: list[Tensor]) -> tuple[Tensor, ...]:
        """Of a fixed weighting of ``out``, to the leaves; zero where there is none."""
        if not out.requires_grad:
            return tuple(torch.zeros_like(t) for t in self.leaves(tensors))
        weighting = torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(
            out.dtype
        )
        return torch.autograd.grad(out, self.leaves(tensors), weighting, materialize_grads=True)

    def near(self, a: Tensor, b: Tensor, tolerance: float) -> bool:
        """Whether the largest difference is within ``tolerance`` of the largest value."""
        if a.shape != b.shape or a.numel() == 0:
            return a.shape == b.shape
        return float((a - b).detach().abs().max()) <= tolerance * (1 + float(b.detach().abs().max()))


@pytest.fixture(scope="session")
def problems() -> Problems:
    """Makers of problems, and what compares answers."""
    return Problems()
