"""A network becomes a chaotic system: shallow PLRNN trained by generalised teacher forcing on Lorenz's equations.

``python benchmarks/chaos.py`` trains on one half of a trajectory, lets the network run by itself, and compares it with the
other half by what stays the same in chaos: where it goes (D_stsp), at which frequencies (D_H), how fast neighbours part
(largest Lyapunov exponent). Beside the figures of the model stand those of the two halves of the true
trajectory, what is left by their finite length. Minutes for each seed on one thread; ``--checkpoint`` makes a run that
is stopped go on. Adds to ``benchmarks/results/chaos.json`` and draws ``chaos.png`` beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuro.dynamics import (
    Forcing,
    Lorenz63,
    ShallowPLRNN,
    flow_exponents,
    map_exponents,
    prediction_error,
    reconstruct,
    simulate,
    spectrum_distance,
    state_space_divergence,
)

RESULT = Path(__file__).parent / "results" / "chaos.json"


def halves(steps: int, dt: float) -> tuple[Tensor, Tensor]:
    """Two trajectories of the same length, one after the other, in units of the first's deviation."""
    whole = simulate(Lorenz63(), 2 * steps, dt, skip=20.0)
    first = whole[:steps]
    scaled = ((whole - first.mean(0)) / first.std(0)).float()
    return scaled[:steps], scaled[steps:]


def measures(truth: Tensor, other: Tensor) -> dict[str, float]:
    return {"D_stsp": state_space_divergence(truth, other), "D_H": spectrum_distance(truth, other)}


def ahead(model: ShallowPLRNN, truth: Tensor, lag: int) -> list[float]:
    """Prediction error at lags 1 to ``lag``, from 500 states."""
    starts = torch.linspace(0, len(truth) - lag - 1, 500).long()
    wanted = truth[starts + torch.arange(1, lag + 1).unsqueeze(1)]
    return [round(e, 5) for e in prediction_error(wanted, model.generate(truth[starts], lag)).tolist()]


def draw(truth: Tensor, made: Tensor, said: dict[str, Any], dt: float, path: Path) -> None:
    """Both attractors, and the start of both trajectories."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.4), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(2, 1))
    for place, (name, x) in enumerate((("Lorenz's equations", truth), ("the network by itself", made))):
        axes = figure.add_subplot(grid[0, place])
        axes.plot(x[:4000, 0], x[:4000, 2], linewidth=0.4, color=("#444444", "#c0392b")[place])
        axes.set(title=name, xlabel="x", ylabel="z")
    axes = figure.add_subplot(grid[1, :])
    shown = round(15 / dt)
    axes.plot(torch.arange(shown) * dt, truth[:shown, 0], color="#444444", label="equations")
    axes.plot(torch.arange(shown) * dt, made[:shown, 0], color="#c0392b", label="network, from the same state")
    axes.set(xlabel="time [1/0.906 of it is a Lyapunov time]", ylabel="x")
    axes.legend(loc="upper right")
    axes.set_title(", ".join(f"{name} {said[name]:.3g}" for name in ("D_stsp", "D_H", "lambda_max")))
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train one seed, add it to the results, draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hidden", type=int, default=50)
    parser.add_argument("--clipped", action="store_true", help="hidden units bounded")
    parser.add_argument("--updates", type=int, default=50_000)
    parser.add_argument("--length", type=int, default=30, help="steps of a piece")
    parser.add_argument("--rate", type=float, default=5e-3, help="at first; a hundredth of it at last")
    parser.add_argument("--dt", type=float, default=0.05, help="time of one step, in the equations' unit")
    parser.add_argument("--steps", type=int, default=50_000, help="of each half of the trajectory")
    parser.add_argument("--checkpoint", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    train, test = halves(given.steps, given.dt)
    torch.manual_seed(given.seed)
    model = ShallowPLRNN(3, given.hidden, clipped=given.clipped)
    forcing = Forcing(given.updates, given.length, rate=(given.rate, given.rate / 100), seed=given.seed)
    resumed = given.checkpoint is not None and given.checkpoint.exists()
    done = torch.load(given.checkpoint, weights_only=True)["done"] if resumed else 0
    start = time.process_time()
    losses = reconstruct(model, train, forcing, checkpoint=given.checkpoint, progress=True)
    cost = (time.process_time() - start) / max(1, given.updates - done)
    made = model.generate(test[:1], len(test))[:, 0]
    double = model.double().map()
    exponents = map_exponents(lambda z: double(z), double.jacobian, test[0].double(), 20_000, dt=given.dt, skip=1000)
    true = flow_exponents(Lorenz63(), duration=300.0)
    row = {name: value for name, value in vars(given).items() if name != "checkpoint"}
    row |= {
        "cpu_ms_per_update": round(1000 * cost, 2),
        "loss": losses[-1],
        "alpha": round(model.alpha, 4),
        **measures(test, made),
    }
    row |= {"lambda_max": float(exponents[0]), "exponents": exponents.tolist(), "true_exponents": true.tolist()}
    row |= {"halves": measures(test, train), "prediction_error": ahead(model.float(), test, 40)}
    held = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    held[f"lorenz63 {'clipped ' if given.clipped else ''}{given.hidden} seed {given.seed}"] = row
    RESULT.write_text(json.dumps(dict(sorted(held.items())), indent=1) + "\n")
    draw(test[1:], made, row, given.dt, RESULT.with_suffix(".png"))
    print(json.dumps(row))


if __name__ == "__main__":
    main()
