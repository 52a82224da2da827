"""CUDA kernels, run on the CPU by the host shim and on a GPU where there is one, equal the Numba kernels."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
import torch

import neuro
from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.program import derive_backward, saved_states
from neuro.kernels.compiler.reference import coefficients
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import SURROGATES, Surrogate
from neuro.kernels.engines.cuda_backend import cuda_backward, cuda_forward
from neuro.kernels.engines.numba_backend import numba_backward, numba_forward
from neuro.kernels.scans.scan import ScanSpec, scan
from neuro.neurons import CELLS, LI, LIF, Cell, CuBaLIF, Izhikevich, SEAdLIF

OWN = Equations(
    "Own",
    """
    dv/dt = (x - v - a) / tau
    da/dt = -a / tau_a
    spike when v > theta + a*a
    reset value: v = -0.1*v
    reset value: a = a + b
    output z*v
    """,
    {
        "tau": Parameter(0.02, "s", positive=True),
        "tau_a": Parameter(0.1, "s", positive=True),
        "theta": Parameter(0.8, "V"),
        "b": Parameter(0.1, "V"),
    },
)
SCALE = MappingProxyType(
    {"IF": 100.0, "AdEx": 1.5e-9, "Izhikevich": 20.0, "QIF": 4.0, "EIF": 4.0, "ShortTermPlasticity": 0.3}
)  # currents that make them spike
KINDS = (LIF.equations, CuBaLIF.equations, LI.equations, OWN, SEAdLIF.equations, Izhikevich.equations)


def spec_of(equations: Equations, family: str = "atan", method: str = "euler") -> ScanSpec:
    learned = frozenset(equations.parameters)
    return ScanSpec(equations, method, equations.reset_kinds[0], Surrogate(family, 0.4, 0.9), learned)


def compare(spec: ScanSpec, route: Route, shape: tuple[int, int, int], dtype: torch.dtype, device: str) -> None:
    """Outputs equal bit for bit to the Numba kernels', gradients to rounding."""
    _, batch, neurons = shape
    generator = torch.Generator().manual_seed(5)
    x, gy = (torch.randn(shape, generator=generator, dtype=dtype) * 6 + 2 for _ in range(2))
    n_states = len(spec.equations.states)
    state, gs = (torch.rand((n_states, batch, neurons), generator=generator, dtype=dtype) for _ in range(2))
    values = {n: torch.full((neurons,), p.default, dtype=dtype) for n, p in spec.equations.parameters.items()}
    if spec.refractory:
        n_states += 1
        state, gs = (torch.cat([t, torch.zeros_like(t[:1])]) for t in (state, gs))
        values["refractory_period"] = torch.linspace(0, 3e-3, neurons, dtype=dtype)
    table = torch.stack([c.expand(neurons) for c in coefficients(spec.program, values, 1e-3)])
    learned = spec.learned_coefficients
    saved = saved_states(spec.program, derive_backward(spec.program, route, learned))

    expected = numba_forward(spec.program, [x], state, table, saved)
    there = [t.to(device) for t in (x, state, table, gy, gs)]
    actual = cuda_forward(spec.program, [there[0]], there[1], there[2], saved)
    for want, got in zip(expected, actual, strict=True):
        assert torch.equal(want, got.cpu())

    common = (spec.program, route, learned, spec.surrogate)
    want_x, want_s, want_c = numba_backward(*common, gy, gs, [x], state, table, expected[2])
    got_x, got_s, got_c = cuda_backward(*common, there[3], there[4], [there[0]], there[1], there[2], actual[2])
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for want, got in zip((*want_x, want_s, want_c), (*got_x, got_s, got_c), strict=True):
        if want.numel():
            assert (want - got.cpu()).abs().max() <= tolerance * max(float(want.abs().max()), 1e-12)


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "route", [Route(), Route(cut_time=True), Route(cut_reset=False)], ids=["bptt", "sltt", "whole"]
)
@pytest.mark.parametrize("equations", KINDS, ids=lambda e: e.name)
def test_cuda_kernel_equals_numba(equations: Equations, route: Route, device: str) -> None:
    compare(spec_of(equations), route, (19, 3, 21), torch.float64, device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_every_cell_equals_its_reference(cell: type[Cell], device: str) -> None:
    """Exponentials and quadratics included: outputs and all gradients are those of autograd on the plain loop."""
    spec, (batch, neurons) = spec_of(cell.equations), (2, 9)
    generator = torch.Generator().manual_seed(5)
    x, gy = (torch.randn((60, batch, neurons), generator=generator, dtype=torch.float64) for _ in range(2))
    inputs = [((x + 1) * SCALE.get(cell.__name__, 10.0)).requires_grad_() for _ in cell.equations.inputs]
    start = [s.double().requires_grad_() for s in cell(neurons).initial_state(batch)]
    values = {n: torch.full((neurons,), p.default, dtype=x.dtype) for n, p in cell.equations.parameters.items()}
    table = [c.expand(neurons).clone().requires_grad_() for c in coefficients(spec.program, values, 1e-3)]
    expected, _ = scan(spec, inputs, start, table, backend="reference")
    learned = spec.learned_coefficients
    leaves = [*inputs, *start, *(table[k] for k in learned)]
    wanted = torch.autograd.grad(expected, leaves, gy, allow_unused=True)

    state, rows, gy = (v.detach().to(device) for v in (torch.stack(start), torch.stack(table), gy))
    given = [v.detach().to(device) for v in inputs]
    saved = saved_states(spec.program, derive_backward(spec.program, Route(), learned))
    output, final, trace = cuda_forward(spec.program, given, state, rows, saved)
    assert torch.allclose(output.cpu(), expected, rtol=1e-9, atol=1e-12)
    assert float(expected.detach().abs().sum()) > 0
    common = (spec.program, Route(), learned, spec.surrogate)
    to_x, to_state, to_table = cuda_backward(*common, gy, torch.zeros_like(final), given, state, rows, trace)
    for want, got in zip(wanted, (*to_x, *to_state, *to_table), strict=True):
        expected_gradient = torch.zeros_like(got) if want is None else want.to(device)
        close = 1e-8 * max(float(expected_gradient.abs().max()), 1e-12)
        assert (got - expected_gradient).abs().max() <= close


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("equations", [LIF.equations, SEAdLIF.equations], ids=lambda e: e.name)
def test_refractory_period(equations: Equations, device: str) -> None:
    compare(replace(spec_of(equations), refractory=True), Route(), (19, 3, 21), torch.float64, device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (8, 2, 63), (9, 1, 1000), (7, 5, 100), (0, 2, 3), (4, 0, 3)])
def test_ugly_sizes(shape: tuple[int, int, int], device: str) -> None:
    compare(spec_of(LIF.equations), Route(), shape, torch.float32, device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", sorted(SURROGATES))
def test_surrogates(family: str, device: str) -> None:
    compare(spec_of(LIF.equations, family), Route(), (10, 2, 9), torch.float64, device)


@pytest.mark.gpu
def test_cell_on_a_gpu_spikes_as_on_the_cpu_and_as_the_reference() -> None:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.LIF(300, tau=10e-3))
    x = torch.randn(50, 7, 300) * 15
    here, _ = net(x)
    there, _ = net.cuda()(x.cuda())
    assert float(here.detach().sum()) > 0
    assert torch.equal(here, there.cpu())
    spec = spec_of(LIF.equations)
    values = {n: torch.tensor(p.default, device="cuda") for n, p in spec.equations.parameters.items()}
    start = [torch.zeros(7, 300, device="cuda")]
    table = coefficients(spec.program, values, 1e-3)
    fused = scan(spec, [x.cuda()], start, table, backend="cuda")[0]
    assert torch.equal(fused, scan(spec, [x.cuda()], start, table, backend="reference")[0])
