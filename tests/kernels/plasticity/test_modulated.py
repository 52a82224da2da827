"""Modulated plasticity equals its definition; what has no modulator does not move."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.plasticity.law import TimingLaw
from neuro.kernels.plasticity.modulated import ModulatedState, modulated_reference, modulated_stdp
from neuro.kernels.plasticity.stdp import stdp
from neuro.kernels.propagation.csr import CSR

PAIR = TimingLaw(0.03, 0.02, 17e-3, 34e-3)
LAWS = [PAIR, replace(PAIR, a3_plus=0.2, w_min=0.3, w_max=0.7, nearest_pre=True)]
Given = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, CSR | None]


def given(
    shape: tuple[int, int, int, int], form: str = "rows", each: bool = False, dtype: torch.dtype = torch.float64
) -> Given:
    """Weight, spikes, a modulator that is 0 in most steps, connections."""
    time, batch, pre, post = shape
    g = torch.Generator().manual_seed(sum(shape))
    x = (torch.rand(time, batch, pre, generator=g) < 0.15).to(dtype)
    z = (torch.rand(time, batch, post, generator=g) < 0.15).to(dtype)
    weight = 0.3 + 0.4 * torch.rand(post, pre, generator=g, dtype=dtype)
    m = torch.randn((time, batch, post) if each else (time, batch), generator=g).to(dtype)
    m *= torch.rand(m.shape, generator=g) < 0.2
    connections = None
    if form == "columns":
        weight = weight.t().contiguous().t()
    if form == "sparse":
        connections, weight = CSR.of((weight * (torch.rand(weight.shape, generator=g) < 0.3)).t().contiguous())
    return weight, x, z, m, connections


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("tau", [30e-3, 0.4e-3])  # the second is so short that scales start anew
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("form", ["rows", "columns", "sparse"])
@pytest.mark.parametrize("shape", [(40, 3, 63, 20), (1, 1, 1, 1), (0, 2, 3, 4), (3, 0, 3, 4), (5, 2, 0, 4)])
def test_equals_the_reference(
    shape: tuple[int, int, int, int], form: str, each: bool, tau: float, law: TimingLaw
) -> None:
    weight, x, z, m, connections = given(shape, form, each)
    full = (m if each else m.unsqueeze(2)).expand(z.shape)
    traces = law.initial(shape[1], shape[2], shape[3], x)
    past = torch.rand(shape[1], *weight.shape, dtype=torch.float64)
    state = ModulatedState(traces, past, torch.tensor(0.5, dtype=torch.float64))
    decay = math.exp(-law.dt / tau)
    wanted, end = modulated_reference(weight, x, z, full, law, decay, state, connections)
    actual, after = modulated_stdp(weight, x, z, m, law, tau=tau, state=state, connections=connections)
    assert torch.allclose(actual, wanted, rtol=1e-12, atol=1e-12)
    assert torch.allclose(after.eligibility * after.scale, end.eligibility, rtol=1e-12, atol=1e-12)
    assert torch.allclose(after.traces.pre, end.traces.pre, rtol=1e-12)
    assert actual.stride() == weight.stride()


@pytest.mark.parametrize("tau", [30e-3, 0.4e-3])
@pytest.mark.parametrize("form", ["rows", "columns", "sparse"])
def test_pieces_of_time_equal_the_whole(form: str, tau: float) -> None:
    weight, x, z, m, connections = given((60, 2, 40, 20), form, dtype=torch.float32)
    whole, end = modulated_stdp(weight, x, z, m, LAWS[1], tau=tau, connections=connections)
    part, state = weight, None
    for a, b, c in zip(*(v.split([1, 0, 36, 23]) for v in (x, z, m)), strict=True):
        part, state = modulated_stdp(part, a, b, c, LAWS[1], tau=tau, state=state, connections=connections)
    assert state is not None
    assert torch.equal(part, whole)
    assert torch.equal(state.eligibility, end.eligibility)
    assert torch.equal(state.scale, end.scale)


@pytest.mark.parametrize("form", ["rows", "sparse"])
def test_threads_do_not_change_a_bit(form: str) -> None:
    weight, x, z, m, connections = given((80, 2, 200, 90), form, dtype=torch.float32)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(modulated_stdp(weight, x, z, m, PAIR, tau=0.1, connections=connections)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_without_a_modulator_nothing_moves_and_all_of_it_at_once_is_stdp() -> None:
    weight, x, z, m, _ = given((50, 1, 30, 20))
    still, state = modulated_stdp(weight, x, z, 0 * m, PAIR, tau=1e9)
    assert torch.equal(still, weight)
    m = 0 * m
    m[-1] = 1
    rewarded, _ = modulated_stdp(weight, x, z, m, PAIR, tau=1e9)
    assert torch.allclose(rewarded, stdp(weight, x, z, PAIR)[0], atol=1e-9)
    assert state.eligibility.abs().max() > 0.01


def test_a_sample_learns_from_its_own_modulator_alone() -> None:
    weight, x, z, m, _ = given((50, 3, 30, 20))
    m[:, 1:] = 0
    expected, _ = modulated_stdp(weight, x[:, :1], z[:, :1], m[:, :1], PAIR, tau=20e-3)
    assert torch.allclose(modulated_stdp(weight, x, z, m, PAIR, tau=20e-3)[0], expected, atol=1e-14)


def test_operator_is_registered_in_full() -> None:
    from neuro.kernels.propagation.spikes import EventList

    law = [0.01, 0.0, 0.02, 0.0, 0.0, 1.0, 0.0, 0.0, 0.9, 0.8]
    for form in ("rows", "columns", "sparse"):
        weight, x, z, m, connections = given((3, 2, 10, 6), form)
        none = torch.empty(0, dtype=torch.int64)
        csr = (connections.indptr, connections.indices) if connections else (none, none.int())
        lists = [EventList.of(a) for a in (x, z)]
        events = (x, lists[0].start, lists[0].index, z, lists[1].start, lists[1].index)
        held, one = torch.zeros(2, *weight.shape, dtype=torch.float64), torch.ones((), dtype=torch.float64)
        rest = (law, True, False, m.unsqueeze(2).expand(z.shape).contiguous(), 0.9, held, one)
        arguments = (weight, *events, *csr, *PAIR.initial(2, 10, 6, x), *rest)
        torch.library.opcheck(torch.ops.neuro.modulated_stdp.default, arguments)


def test_compiles_without_a_break() -> None:
    weight, x, z, m, _ = given((9, 2, 10, 6))
    run = torch.compile(lambda w: modulated_stdp(w, x, z, m, PAIR, tau=0.1)[0], fullgraph=True, backend="aot_eager")
    assert torch.equal(run(weight), modulated_stdp(weight, x, z, m, PAIR, tau=0.1)[0])


def test_bad_input_is_named() -> None:
    weight, x, z, m, _ = given((3, 2, 10, 6))
    soft = replace(PAIR, w_min=0.0, w_max=1.0, mu_plus=1.0)
    _, state = modulated_stdp(weight, x, z, m, PAIR, tau=0.1)
    cases: list[tuple[str, tuple[object, ...], dict[str, object]]] = [
        ("tau must be positive", (weight, x, z, m, PAIR), {"tau": 0.0}),
        ("law must be additive", (weight, x, z, m, soft), {}),
        (r"modulator must be \[3, 2\] or \[3, 2, 6\], got \[2, 2\]", (weight, x, z, m[1:], PAIR), {}),
        ("modulator must be torch.float64", (weight, x, z, m.float(), PAIR), {}),
        ("modulator must be finite", (weight, x, z, m / 0, PAIR), {}),
        ("x must be 0 or 1", (weight, 2 * x, z, m, PAIR), {}),
        (
            r"state.eligibility must be \[2, 6, 10\]",
            (weight, x, z, m, PAIR),
            {"state": state._replace(eligibility=state.eligibility[0])},
        ),
    ]
    for message, arguments, options in cases:
        with pytest.raises(InputError, match=message):
            modulated_stdp(*arguments, **{"tau": 0.1, **options})  # type: ignore[arg-type]
