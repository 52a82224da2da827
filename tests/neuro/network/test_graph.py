"""Graphs against the same equations written out step by step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError


def x(steps: int = 23) -> Tensor:
    return (torch.rand(steps, 2, 4, generator=torch.Generator().manual_seed(5)) < 0.4).double()


def parts(seed: int = 0) -> dict[str, torch.nn.Module]:
    torch.manual_seed(seed)
    made: dict[str, torch.nn.Module] = {
        "in": neuro.Linear(4, 5),
        "a": neuro.LIF(5, tau=4e-3),
        "there": neuro.Linear(5, 5),
        "b": neuro.LIF(5, tau=3e-3),
        "back": neuro.Linear(5, 5),
        "out": neuro.LI(5),
    }
    for layer in made.values():
        layer.double()
        if isinstance(layer, neuro.Linear):
            layer.weight.data.mul_(12)
    return made


def ring(there: int, back: int) -> neuro.Graph:
    edges = [
        *(("input", "in"), ("in", "a"), ("a", "there", there * 1e-3), ("there", "b"), ("b", "back", back * 1e-3)),
        *(("back", "a"), ("b", "out", 4e-3), ("a", "out"), ("out", "output")),
    ]
    return neuro.Graph(parts(), edges)


def step_by_step(there: int, back: int, sequence: Tensor) -> Tensor:
    layer = parts()
    states = {n: layer[n].initial_state(2, dtype=torch.float64) for n in ("a", "b", "out")}  # type: ignore[operator]
    z: dict[str, list[Tensor]] = {"a": [], "b": [], "out": []}

    def earlier(name: str, delay: int) -> Tensor:
        return z[name][-delay] if len(z[name]) >= delay else torch.zeros(2, 5, dtype=torch.float64)

    def advance(name: str, current: Tensor) -> None:
        y, states[name] = layer[name].step(current, states[name])  # type: ignore[operator]
        z[name].append(y)

    for now in sequence:
        back_current = layer["back"](earlier("b", back).unsqueeze(0))[0] if back else None
        advance("a", layer["in"](now.unsqueeze(0))[0] + (0 if back_current is None else back_current))
        source = z["a"][-1 - there] if len(z["a"]) > there else torch.zeros(2, 5, dtype=torch.float64)
        advance("b", layer["there"](source.unsqueeze(0))[0])
        late = z["b"][-5] if len(z["b"]) > 4 else torch.zeros(2, 5, dtype=torch.float64)
        advance("out", z["a"][-1] + late)
    return torch.stack(z["out"])


@pytest.mark.parametrize(("there", "back"), [(0, 1), (0, 3), (2, 1), (5, 3), (2, 40)])
def test_a_cycle_with_delays_is_the_recursion(there: int, back: int) -> None:
    net = ring(there, back)
    assert net.cyclic == {"a", "there", "b", "back"}
    expected = step_by_step(there, back, x())
    assert bool(expected.any())
    made, _ = net(x())
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-12)
    for cut in (1, 7, 22):
        first, middle = net(x()[:cut])
        second, _ = net(x()[cut:], middle)
        torch.testing.assert_close(torch.cat([first, second]), expected, rtol=0, atol=1e-12)
    state, steps = net.initial_state(2, dtype=torch.float64), []
    for now in x():
        y, state = net.step(now, state)
        steps.append(y)
    torch.testing.assert_close(torch.stack(steps), expected, rtol=0, atol=1e-12)


def test_gradients_cross_delays_stretches_and_pieces() -> None:
    net = ring(2, 3)
    gradients = []
    for run in (
        lambda: net(x())[0],
        lambda: net(x(), recompute=5)[0],
        lambda: torch.cat([(first := net(x()[:9]))[0], net(x()[9:], first[1])[0]]),
    ):
        net.zero_grad()
        run().square().sum().backward()
        gradients.append({n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None})
    assert {"back.weight", "there.weight", "in.weight"} <= set(gradients[0])
    for other in gradients[1:]:
        for name, grad in gradients[0].items():
            torch.testing.assert_close(other[name], grad, rtol=1e-9, atol=1e-9)


def test_a_chain_is_a_sequence() -> None:
    made = parts()
    names = ["in", "a", "there", "out"]
    chain = neuro.Graph({n: made[n] for n in names}, list(zip(["input", *names], [*names, "output"], strict=True)))
    assert not chain.cyclic
    assert torch.equal(chain(x())[0], neuro.Sequential({n: made[n] for n in names})(x())[0])


def test_nodes_of_several_inputs_take_them_in_order() -> None:
    nodes = {"l": neuro.Linear(4, 2), "r": neuro.Linear(4, 3), "both": neuro.Concatenate(2), "gate": neuro.Multiply(2)}
    edges = [("input", "l"), ("input", "r"), ("r", "both"), ("l", "both"), ("both", "gate"), ("both", "gate", 2e-3)]
    net = neuro.Graph({**nodes, "li": neuro.LI(5)}, [*edges, ("gate", "li"), ("li", "output")]).double()
    both = torch.cat([net.layers["r"](x()), net.layers["l"](x())], 2)
    expected = net.layers["li"](both * torch.cat([torch.zeros(2, 2, 5), both[:-2]]))[0]
    assert torch.equal(net(x())[0], expected)


def test_a_self_loop_delayed_by_one_step_is_a_recurrent_layer() -> None:
    torch.manual_seed(4)
    recurrent = neuro.Recurrent(neuro.LIF(4, tau=3e-3)).double()
    recurrent.weight.data.normal_(0, 4)
    back = neuro.Linear(4, 4, bias=False).double()
    back.weight.data.copy_(recurrent.weight.data)
    loop = neuro.Graph(
        {"cell": recurrent.cell, "back": back},
        [("input", "cell"), ("cell", "back", 1e-3), ("back", "cell"), ("cell", "output")],
    )
    expected = recurrent(4 * x())[0].detach()
    assert 0 < float(expected.mean()) < 1
    torch.testing.assert_close(loop(4 * x())[0], expected, rtol=0, atol=1e-12)


def test_recording_sees_every_step_of_a_cycle() -> None:
    net = ring(2, 3)
    seen = neuro.record(net, x(), layers=["b", "out"])
    assert list(seen) == ["b", "out"]
    assert torch.equal(seen["out"]["z"], net(x())[0])
    assert seen["b"]["v"].shape == (23, 2, 5)


def test_wrong_graphs_are_named() -> None:
    layers = {"a": neuro.Linear(2, 2), "b": neuro.LIF(2), "j": neuro.Concatenate(2)}
    two = {n: layers[n] for n in ("a", "b")}
    chain = [("input", "a"), ("a", "b"), ("b", "output")]
    for nodes, edges, message in (
        ({"input": layers["a"]}, [], "cannot be named 'input'"),
        (two, [*chain, ("c", "a")], "end of the edge 'c' -> 'a'"),
        (two, [*chain, ("b", "a")], "a -> b -> a is a cycle without delay; give one of its edges a delay"),
        (
            two,
            [*chain, ("b", "a", 1.5e-3)],
            "delay must be a whole number of steps of dt=0.001 s, at least 0, got 0.0015",
        ),
        (two, [*chain, ("b", "a", -1e-3)], "at least 0, got -0.001"),
        (two, [("input", "a"), ("a", "output")], "nothing reaches 'b'"),
        (two, [("input", "a"), ("a", "b")], "nothing reaches 'output'"),
        (layers, [*chain, ("a", "j"), ("j", "output")], "node 'j' .Concatenate. takes 2 inputs, got 1 edges"),
    ):
        with pytest.raises(InputError, match=message):
            neuro.Graph(nodes, edges)
    unlike = [("input", "a"), ("input", "b"), ("a", "output"), ("b", "output")]
    with pytest.raises(InputError, match="arrives at node 'output' differs in shape"):
        neuro.Graph({"a": neuro.Linear(2, 3), "b": neuro.LIF(2)}, unlike)(torch.zeros(1, 1, 2))
    with pytest.raises(InputError, match="that of its nodes and of its edges, got 1"):
        neuro.Graph(two, chain)(torch.zeros(1, 1, 2), (None,))


def test_compiled_as_one_graph_it_gives_the_same() -> None:
    net = ring(2, 3)
    expected = net(x())[0]
    torch.compiler.reset()
    assert torch.equal(torch.compile(net, fullgraph=True, backend="aot_eager")(x())[0], expected)
