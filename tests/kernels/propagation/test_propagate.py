"""Propagation over sparse connections equals dense matrices, one for each delay."""

from __future__ import annotations

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.propagation.csr import CSR
from neuro.kernels.propagation.propagate import propagate, propagate_reference
from neuro.kernels.propagation.spikes import EventList

Made = tuple[torch.Tensor, CSR, torch.Tensor, torch.Tensor]


def made(
    shape: tuple[int, int, int],
    post: int,
    density: float = 0.2,
    delays: int = 0,
    own: bool = True,
    shared: bool = False,
    graded: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Made:
    """Spikes, connections with delays of 0 to ``delays`` steps (each its own, or all the longest), weights, a state."""
    g = torch.Generator().manual_seed(sum(shape) + post + delays)
    matrix = (torch.rand(shape[2], post, generator=g) < 0.3).double()
    connections, values = CSR.of(matrix)
    n = connections.synapses
    steps = torch.randint(0, delays + 1, (n,), generator=g, dtype=torch.int32) if own else delays
    connections = CSR(connections.indptr, connections.indices, post, steps, delays + 1)
    x = (torch.rand(shape, generator=g) < density).double()
    if graded:
        x = x * torch.randn(shape, generator=g, dtype=torch.float64)
    weight = torch.randn((1,) if shared else values.shape, generator=g, dtype=torch.float64)
    state = torch.randn(delays + 2, shape[1], post, generator=g, dtype=torch.float64)
    return x.to(dtype), connections, weight.to(dtype), state.to(dtype)


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("delays", "own"), [(0, False), (3, False), (7, True)])
@pytest.mark.parametrize(
    ("shape", "post", "density"),
    [((1, 1, 1), 1, 1.0), ((5, 3, 63), 100, 0.2), ((2, 1, 1000), 7, 0.0), ((9, 2, 30), 20, 1.0), ((0, 2, 5), 4, 0.5),
     ((3, 0, 5), 4, 0.5), ((1, 40, 65), 33, 0.1), ((2, 2, 0), 3, 0.5)],
)  # fmt: skip
def test_equals_the_reference(
    shape: tuple[int, int, int], post: int, density: float, delays: int, own: bool, shared: bool, graded: bool
) -> None:
    x, connections, weight, state = made(shape, post, density, delays, own, shared, graded)
    leaves = [a.requires_grad_() for a in (x, weight, state)]
    expected = propagate_reference(x, connections, weight, state)
    actual = propagate(x, connections, weight, state)
    cotangents = [torch.randn_like(y) for y in expected]
    wanted = torch.autograd.grad(expected, leaves, cotangents, allow_unused=True, materialize_grads=True)
    got = torch.autograd.grad(actual, leaves, cotangents)
    for want, have in zip((*expected, *wanted), (*actual, *got), strict=True):
        assert want.shape == have.shape
        assert torch.allclose(want, have, rtol=1e-10, atol=1e-10)
    listed = propagate(EventList.of(x), connections, weight, state)
    assert torch.equal(listed[0], actual[0])
    assert torch.equal(torch.autograd.grad(listed, weight, cotangents)[0], got[1])


def test_gradients_by_finite_differences() -> None:
    x, connections, weight, state = made((3, 2, 4), 3, 0.5, 2, graded=True)
    leaves = [a.requires_grad_() for a in (x + (x == 0) * 0.3, weight, state)]
    leaves[0] = leaves[0].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: propagate(a[0], connections, a[1], a[2]), leaves)


@pytest.mark.parametrize("own", [False, True])
def test_pieces_of_time_equal_the_whole(own: bool) -> None:
    x, connections, weight, _ = made((20, 3, 60), 50, 0.2, 6, own, dtype=torch.float32)
    whole, end = propagate(x, connections, weight)
    state, parts = None, []
    for piece in x.split([1, 1, 7, 0, 11]):
        y, state = propagate(piece, connections, weight, state)
        parts.append(y)
    assert torch.equal(torch.cat(parts), whole)
    assert state is not None
    assert torch.equal(state, end)
    assert state.abs().sum() > 0


def test_neither_batch_nor_threads_change_a_bit() -> None:
    x, connections, weight, state = made((6, 40, 90), 70, 0.3, 4, dtype=torch.float32)
    weight.requires_grad_()

    def run() -> list[torch.Tensor]:
        leaf = x.clone().requires_grad_()
        y, end = propagate(leaf, connections, weight, state)
        return [y, end, *torch.autograd.grad(y.square().sum() + end.sum(), (leaf, weight))]

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = run()
        torch.set_num_threads(4)
        four = run()
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(one, four, strict=True))
    part = propagate(x[:, 11:13], connections, weight, state[:, 11:13])
    assert torch.equal(part[0], one[0][:, 11:13])


def test_arrays_need_not_be_contiguous() -> None:
    x, connections, weight, state = made((6, 4, 30), 20, 0.3, 2)
    expected = propagate(x, connections, weight, state)[0]
    spread = x.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    apart = torch.stack([weight, weight], 1)[:, 0]
    turned = state.transpose(0, 2).contiguous().transpose(0, 2)
    assert torch.equal(propagate(spread, connections, apart, turned)[0], expected)


def test_no_synapse_at_all() -> None:
    connections = CSR(torch.zeros(4, dtype=torch.int64), torch.empty(0, dtype=torch.int32), 5)
    weight = torch.empty(0, requires_grad=True)
    y, _ = propagate(torch.ones(2, 1, 3), connections, weight)
    assert torch.equal(y, torch.zeros(2, 1, 5))
    assert torch.autograd.grad(y.sum(), weight)[0].shape == (0,)


def test_operator_is_registered_in_full() -> None:
    x, connections, weight, state = made((3, 2, 10), 6, 0.4, 2)
    listed = EventList.of(x)
    arguments = (
        *(x.requires_grad_(), listed.start, listed.index, listed.value, connections.indptr, connections.indices),
        *(weight.requires_grad_(), torch.as_tensor(connections.delay), state.requires_grad_(), 3),
    )
    torch.library.opcheck(torch.ops.neuro.propagate.default, arguments)
    torch.library.opcheck(torch.ops.neuro.list_entries.default, (x.detach(),))


def test_compiles_without_a_break() -> None:
    x, connections, weight, state = made((3, 2, 10), 6, 0.4, 2)
    weight.requires_grad_()

    def loss(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return propagate(x, connections, weight, state)[0].square().sum()

    expected = torch.autograd.grad(loss(x, weight), weight)[0]
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    assert torch.allclose(torch.autograd.grad(compiled(x, weight), weight)[0], expected)


def test_only_the_events_are_kept_for_backward() -> None:
    x, connections, weight, _ = made((50, 8, 200), 10, 0.02)
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        propagate(x.requires_grad_(), connections, weight.requires_grad_())
    own = {t.data_ptr() for t in (connections.indptr, connections.indices, weight)}
    size = sum(t.numel() * t.element_size() for t in kept if t.data_ptr() not in own)
    assert 0 < size < 0.05 * x.numel() * x.element_size()


def test_bad_input_is_named() -> None:
    x, connections, weight, state = made((3, 2, 10), 6, 0.4, 2)
    cases: list[tuple[str, tuple[object, ...], dict[str, object]]] = [
        (r"x must be \[T, B, 10\]", (x[..., :9], connections, weight), {}),
        (r"x must be \[T, B, 10\]", (x[0], connections, weight), {}),
        ("float32 or float64", (x.int(), connections, weight), {}),
        (rf"weight must be \[{connections.synapses}\]", (x, connections, weight[1:]), {}),
        ("weight must be torch.float64 like x", (x, connections, weight.float()), {}),
        ("weight must be finite", (x, connections, weight / 0.0), {}),
        ("weight must be finite", (x, connections, weight * float("nan")), {}),
        (r"state must be \[4, 2, 6\]", (x, connections, weight, state[1:]), {}),
        (r"state must be \[4, 2, 6\]", (x, connections, weight, state.float()), {}),
        ("did you mean 'numba'", (x, connections, weight), {"backend": "nmba"}),
        ("backend 'cuda' does not run on cpu", (x, connections, weight), {"backend": "cuda"}),
        ("on one device", (x, connections, weight.to("meta")), {}),
    ]
    for message, arguments, options in cases:
        with pytest.raises(InputError, match=message):
            propagate(*arguments, **options)  # type: ignore[arg-type]


def test_backend_reference_is_the_reference() -> None:
    x, connections, weight, state = made((3, 2, 10), 6, 0.4, 2)
    expected = propagate_reference(x, connections, weight, state)
    for have, want in zip(propagate(x, connections, weight, state, backend="reference"), expected, strict=True):
        assert torch.equal(have, want)
