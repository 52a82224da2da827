"""STDP equals the sum over pairs and triplets of spikes that defines it; every form of it equals the reference."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.plasticity.law import TimingLaw, Traces
from neuro.kernels.plasticity.stdp import by_target, stdp, stdp_reference
from neuro.kernels.propagation.csr import CSR
from neuro.kernels.propagation.spikes import EventList

PAIR = TimingLaw(0.03, 0.02, 17e-3, 34e-3, dt=2e-3)
LAWS = {
    "pair": PAIR,
    "nearest": replace(PAIR, nearest_pre=True, nearest_post=True),
    "triplet": TimingLaw.visual_cortex(),
    "all triplets": replace(PAIR, a3_plus=0.06, a3_minus=0.01, tau_x=50e-3, nearest_post=True),
    "clipped": replace(PAIR, w_min=0.3, w_max=0.7),
    "multiplicative": replace(PAIR, w_min=0.0, w_max=1.0, mu_plus=1.0, mu_minus=1.0),
    "power": replace(PAIR, w_min=-0.5, w_max=1.5, mu_plus=0.4, mu_minus=2.0, a3_minus=0.1),
}
each_law = pytest.mark.parametrize("name", LAWS)


def spikes(
    shape: tuple[int, int, int, int], density: float = 0.1, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights ``[O, I]`` within the bounds of all laws, ``x [T, B, I]``, ``z [T, B, O]``."""
    time, batch, pre, post = shape
    g = torch.Generator().manual_seed(sum(shape))
    x = (torch.rand(time, batch, pre, generator=g) < density).to(dtype)
    z = (torch.rand(time, batch, post, generator=g) < density).to(dtype)
    return 0.3 + 0.4 * torch.rand(post, pre, generator=g, dtype=dtype), x, z


def sparse(weight: torch.Tensor) -> tuple[CSR, torch.Tensor]:
    g = torch.Generator().manual_seed(3)
    return CSR.of((weight * (torch.rand(weight.shape, generator=g) < 0.3)).t().contiguous())


# --- what defines it -----------------------------------------------------------------------------------


def times(raster: torch.Tensor) -> list[int]:
    return raster.nonzero().flatten().tolist()


def pair_sum(pre: list[int], post: list[int], law: TimingLaw) -> float:
    """Over pairs of spikes of one synapse; over the nearest earlier one where the law says so."""
    total = 0.0
    for t in post:
        earlier = [s for s in pre if s < t]
        for s in earlier[-1:] if law.nearest_pre else earlier:
            total += law.a2_plus * math.exp(-(t - s) * law.dt / law.tau_plus)
    for s in pre:
        earlier = [t for t in post if t < s]
        for t in earlier[-1:] if law.nearest_post else earlier:
            total -= law.a2_minus * math.exp(-(s - t) * law.dt / law.tau_minus)
    return total


def triplet_sum(pre: list[int], post: list[int], law: TimingLaw) -> float:
    """What triplets of spikes of one synapse add to that (all to all)."""
    total = 0.0
    for s, t, u in itertools.product(pre, post, post):
        if s < t and u < t:
            total += law.a3_plus * math.exp(-(t - s) * law.dt / law.tau_plus - (t - u) * law.dt / law.tau_y)
    for t, s, r in itertools.product(post, pre, pre):
        if t < s and r < s:
            total -= law.a3_minus * math.exp(-(s - t) * law.dt / law.tau_minus - (s - r) * law.dt / law.tau_x)
    return total


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("nearest", [(False, False), (True, True), (True, False), (False, True)])
def test_pairs_equal_the_double_sum(nearest: tuple[bool, bool], backend: str) -> None:
    law = replace(PAIR, nearest_pre=nearest[0], nearest_post=nearest[1])
    _, x, z = spikes((70, 2, 5, 4), 0.2)
    z[10] = x[10, :, :4]  # spikes in the same step are no pair
    zeros = torch.zeros(4, 5, dtype=torch.float64)
    expected = zeros.clone()
    for b, i, j in itertools.product(range(2), range(4), range(5)):
        expected[i, j] += pair_sum(times(x[:, b, j]), times(z[:, b, i]), law)
    actual, _ = stdp(zeros, x, z, law, backend=backend)
    assert (actual - expected).abs().max() <= 1e-9
    assert expected.abs().max() > 0.05
    everyone, ones = CSR.of(torch.ones(5, 4, dtype=torch.float64))
    listed, _ = stdp(0 * ones, x, z, law, connections=everyone, backend=backend)
    assert (everyone.dense(listed).t() - expected).abs().max() <= 1e-9


@pytest.mark.parametrize("law", [TimingLaw.visual_cortex(), replace(PAIR, a3_plus=0.04, a3_minus=0.05, tau_x=60e-3)])
def test_triplets_equal_the_triple_sum(law: TimingLaw) -> None:
    _, x, z = spikes((50, 1, 4, 3), 0.25)
    zeros = torch.zeros(3, 4, dtype=torch.float64)
    actual, _ = stdp(zeros, x, z, law)
    for i, j in itertools.product(range(3), range(4)):
        given = (times(x[:, 0, j]), times(z[:, 0, i]), law)
        assert actual[i, j].item() == pytest.approx(pair_sum(*given) + triplet_sum(*given), abs=1e-9)


def test_frequency_dependence_as_published() -> None:
    """60 pairings at 0.1 to 50 Hz (Pfister and Gerstner 2006, figure 2): potentiation needs a high rate."""
    law = TimingLaw.visual_cortex(dt=1e-4)
    found = {}
    for rate, delay in itertools.product((10, 20, 40, 50), (100, -100)):
        period = 10_000 // rate
        x, z = (torch.zeros(60 * period + 300, 1, 1, dtype=torch.float64) for _ in range(2))
        x[200 : 200 + 60 * period : period] = 1
        z[200 + delay : 200 + delay + 60 * period : period] = 1
        found[rate, delay] = stdp(torch.zeros(1, 1, dtype=torch.float64), x, z, law)[0].item()
    assert [found[rate, 100] for rate in (10, 20, 40, 50)] == pytest.approx([0.119, 0.228, 0.532, 0.763], abs=0.02)
    assert [found[rate, -100] for rate in (10, 20, 40, 50)] == pytest.approx([-0.332, -0.342, 0.174, 0.749], abs=0.02)


# --- every form equals the reference ---------------------------------------------------------------------


@each_law
@pytest.mark.parametrize("form", ["rows", "columns", "sparse"])
@pytest.mark.parametrize(
    ("shape", "density"),
    [((40, 3, 63, 30), 0.1), ((1, 1, 1, 1), 1.0), ((6, 2, 100, 5), 1.0), ((5, 2, 7, 9), 0.0), ((0, 2, 5, 4), 0.5),
     ((3, 0, 5, 4), 0.5), ((3, 2, 0, 4), 0.5), ((90, 1, 40, 33), 0.15)],
)  # fmt: skip
def test_equals_the_reference(shape: tuple[int, int, int, int], density: float, form: str, name: str) -> None:
    weight, x, z = spikes(shape, density)
    law, connections = LAWS[name], None
    if form == "sparse":
        connections, weight = sparse(weight)
    if form == "columns":
        weight = weight.t().contiguous().t()
    past = law.initial(shape[1], shape[2], shape[3], x)
    traces = Traces(past.pre + 0.4, past.post + 0.7)
    expected = stdp_reference(weight, x, z, law, traces, connections)
    actual = stdp(weight, x, z, law, traces, connections=connections)
    for have, want in zip((actual[0], *actual[1]), (expected[0], *expected[1]), strict=True):
        assert have.shape == want.shape
        assert torch.allclose(have, want, rtol=1e-12, atol=1e-12)
    assert actual[0].stride() == weight.stride()
    assert torch.equal(traces.pre, past.pre + 0.4)  # nothing is written to


@each_law
def test_single_precision(name: str) -> None:
    weight, x, z = spikes((60, 2, 63, 30), 0.1)
    expected, _ = stdp(weight, x, z, LAWS[name])
    actual, traces = stdp(weight.float(), x.float(), z.float(), LAWS[name])
    assert actual.dtype == traces.pre.dtype == torch.float32
    assert torch.allclose(actual.double(), expected, atol=1e-5)


@each_law
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_pieces_of_time_equal_the_whole(form: str, name: str) -> None:
    weight, x, z = spikes((40, 3, 63, 30), 0.1, torch.float32)
    connections = None
    if form == "sparse":
        connections, weight = sparse(weight)
    whole, end = stdp(weight, x, z, LAWS[name], connections=connections)
    part, traces = weight, None
    for a, b in zip(x.split([1, 0, 17, 22]), z.split([1, 0, 17, 22]), strict=True):
        part, traces = stdp(part, a, b, LAWS[name], traces, connections=connections)
    assert traces is not None
    assert torch.equal(part, whole)
    assert torch.equal(traces.pre, end.pre)
    assert torch.equal(traces.post, end.post)


@pytest.mark.parametrize("name", ["triplet", "power"])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_threads_do_not_change_a_bit(form: str, name: str) -> None:
    weight, x, z = spikes((400, 2, 200, 90), 0.1, torch.float32)
    connections = None
    if form == "sparse":
        connections, weight = sparse(weight)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(stdp(weight, x, z, LAWS[name], connections=connections)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_lists_and_arrays_that_are_not_contiguous() -> None:
    weight, x, z = spikes((20, 2, 30, 12))
    expected, _ = stdp(weight, x, z, PAIR)
    turned = [a.permute(2, 1, 0).contiguous().permute(2, 1, 0) for a in (x, z)]
    apart = torch.stack([weight, weight], 2)[:, :, 1]
    assert torch.equal(stdp(apart, turned[0], turned[1], PAIR)[0], expected)
    assert torch.equal(stdp(weight, EventList.of(x), EventList.of(z), PAIR)[0], expected)
    by_reference, _ = stdp(weight, EventList.of(x), EventList.of(z), PAIR, backend="reference")
    assert torch.allclose(by_reference, expected, rtol=1e-12)


def test_synapses_of_the_same_pair_change_alike() -> None:
    connections = CSR(torch.tensor([0, 3]), torch.tensor([1, 0, 1], dtype=torch.int32), 2)
    _, x, z = spikes((30, 1, 1, 2), 0.3)
    weight, _ = stdp(torch.zeros(3, dtype=torch.float64), x, z, PAIR, connections=connections)
    assert weight[0] == weight[2] != weight[1]


@pytest.mark.parametrize("threads", [1, 2])
def test_synapses_are_ordered_by_target(threads: int) -> None:
    connections, _ = sparse(torch.rand(30, 63) + 0.1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        made = by_target(connections.indptr, connections.indices, 30)
    finally:
        torch.set_num_threads(before)
    seen = set()
    for (_, _), (_, indices, begin, order, source) in made:
        for i in range(30):
            mine = slice(begin[i], begin[i + 1])
            assert (indices[order[mine]] == i).all()
            seen |= set(zip(order[mine].tolist(), source[mine].tolist(), strict=True))
    assert seen == set(enumerate(connections.rows().tolist()))


# --- as an operator -----------------------------------------------------------------------------------------


def test_operator_is_registered_in_full() -> None:
    weight, x, z = spikes((3, 2, 10, 6), 0.4)
    lists = [EventList.of(a) for a in (x, z)]
    law = [0.01, 0.0, 0.02, 0.0, 0.0, 1.0, 1.0, 0.0, 0.9, 0.8]
    for form in ("rows", "columns", "sparse"):
        none = torch.empty(0, dtype=torch.int64)
        connections = None
        given = weight.t().contiguous().t() if form == "columns" else weight
        if form == "sparse":
            connections, given = sparse(weight)
        csr = (connections.indptr, connections.indices) if connections else (none, none.int())
        traces = PAIR.initial(2, 10, 6, x)
        events = (x, lists[0].start, lists[0].index, z, lists[1].start, lists[1].index)
        torch.library.opcheck(torch.ops.neuro.stdp.default, (given, *events, *csr, *traces, law, False, True, 3))


def test_compiles_without_a_break() -> None:
    weight, x, z = spikes((9, 2, 10, 6), 0.4)
    compiled = torch.compile(lambda w: stdp(w, x, z, LAWS["clipped"])[0] * 2, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(weight), stdp(weight, x, z, LAWS["clipped"])[0] * 2)


def test_bad_input_is_named() -> None:
    weight, x, z = spikes((3, 2, 10, 6), 0.4)
    connections, values = sparse(weight)
    late = CSR(connections.indptr, connections.indices, 6, delay=2)
    cases: list[tuple[str, tuple[object, ...], dict[str, object]]] = [
        (r"x must be \[T, B, 10\]", (weight, x[..., 1:], z, PAIR), {}),
        (r"z must be \[T, B, 6\]", (weight, x, z[0], PAIR), {}),
        (r"same \[T, B\], got \[3, 2\] and \[2, 2\]", (weight, x, z[1:], PAIR), {}),
        ("z must be torch.float64 on cpu", (weight, x, z.float(), PAIR), {}),
        ("weight must be float32 or float64", (weight.int(), x, z, PAIR), {}),
        (r"weight must be \[O, I\]", (weight[0], x, z, PAIR), {}),
        (rf"weight must be \[{connections.synapses}\]", (values[1:], x, z, PAIR), {"connections": connections}),
        ("must have no delay, got up to 2 steps", (values, x, z, PAIR), {"connections": late}),
        ("finite and in 0.6..0.7", (weight, x, z, replace(PAIR, w_min=0.6, w_max=0.7)), {}),
        ("weight must be finite", (weight * float("nan"), x, z, PAIR), {}),
        ("weight must be finite", (weight / 0.0, x, z, PAIR), {}),
        ("x must be 0 or 1 everywhere", (weight, x * 0.5, z, PAIR), {}),
        ("z must be 0 or 1 everywhere", (weight, x, EventList.of(z * 2), PAIR), {}),
        (r"traces.pre must be \[1, 2, 10\]", (weight, x, z, PAIR, LAWS["triplet"].initial(2, 10, 6, x)), {}),
        (r"traces.post must be", (weight, x, z, PAIR, PAIR.initial(2, 10, 5, x)), {}),
        ("did you mean 'numba'", (weight, x, z, PAIR), {"backend": "nmba"}),
        ("backend 'cuda' does not run on cpu", (weight, x, z, PAIR), {"backend": "cuda"}),
    ]
    for message, arguments, options in cases:
        with pytest.raises(InputError, match=message):
            stdp(*arguments, **options)  # type: ignore[arg-type]


def test_a_weight_at_its_rounded_bound_is_in_bounds() -> None:
    law = replace(PAIR, w_min=0.0, w_max=0.1)
    weight, x, z = torch.full((2, 3), 0.1), torch.ones(4, 1, 3), torch.ones(4, 1, 2)
    assert float(weight[0, 0]) > law.w_max
    weight, traces = stdp(weight, x, z, law)
    stdp(weight, x, z, law, traces)
