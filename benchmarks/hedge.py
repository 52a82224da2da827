"""Online deep learning on a stream of digits: hedge backpropagation beside plain backpropagation of fixed depths.

``python benchmarks/hedge.py`` shows digits of 8 x 8 pixels one at a time, each asked before it is learned: as they are, and
with labels that are permuted anew at every sixth of the stream. Counts what was right over the whole stream and over its
last sixth. Writes ``benchmarks/results/hedge.json`` and ``hedge.png`` beside it. (Sahoo et al. 2018: rate 0.01,
beta 0.99, smoothing 0.2, 100 units.)
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from neuro.training.hedge import HedgeBackprop

RESULT = Path(__file__).parent / "results" / "hedge.json"


def stream(samples: int, seed: int, *, drift: bool) -> tuple[Tensor, Tensor]:
    """Digits in random order ``[N, 64]``, 0 to 1, over and over, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    digits = load_digits()
    x, y = torch.as_tensor(digits.data).float() / 16, torch.as_tensor(digits.target).long()
    turns = [torch.randperm(len(x), generator=generator) for _ in range(samples // len(x) + 1)]
    order = torch.cat(turns)[:samples]
    part = torch.arange(samples) * 6 // samples
    names = torch.stack([torch.randperm(10, generator=generator) for _ in range(6)])
    return x[order], names[part, y[order]] if drift else y[order]


def learner(depth: int, seed: int, *, fixed: bool) -> HedgeBackprop:
    torch.manual_seed(seed)
    made = HedgeBackprop.dense(64, 100, depth=depth, classes=10)
    return HedgeBackprop([nn.Sequential(*made.blocks)], [made.readouts[-1]]) if fixed else made


def right(model: HedgeBackprop, x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([model.step(a, b).argmax(1)[0] == b[0] for a, b in zip(x.split(1), y.split(1), strict=True)])


def draw(courses: dict[str, dict[str, Tensor]], path: Path) -> None:
    """Share of mistakes so far, for both streams."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axes, (name, models) in zip(figure.subplots(1, 2, sharey=True), courses.items(), strict=True):
        for model, hits in models.items():
            wrong = (1 - hits.float()).cumsum(0) / torch.arange(1, len(hits) + 1)
            axes.plot(wrong[20:], label=model, linewidth=2.2 if model.startswith("hedge") else 1)
        axes.set(title=name, xlabel="samples seen", ylabel="mistakes so far")
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run every model on both streams."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=6000)
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    start, rows = time.process_time(), {}
    courses: dict[str, dict[str, Tensor]] = {}
    for name, drift in (("as they are", False), ("labels permuted six times", True)):
        x, y = stream(given.samples, given.seed, drift=drift)
        courses[name], last = {}, given.samples // 6
        for depth, fixed in ((given.depth, False), (2, True), (8, True), (given.depth, True)):
            hits = right(learner(depth, given.seed, fixed=fixed), x, y)
            model = f"{'fixed' if fixed else 'hedge'} {depth}"
            courses[name][model] = hits
            share = {"all": float(hits.float().mean()), "last sixth": float(hits[-last:].float().mean())}
            rows[f"{name}, {model}"] = {part: round(value, 4) for part, value in share.items()}
            print(name, model, share, flush=True)
    row = {**vars(given), "cpu_seconds": round(time.process_time() - start), "accuracy": rows}
    RESULT.write_text(json.dumps(row, indent=1) + "\n")
    draw(courses, RESULT.with_suffix(".png"))


if __name__ == "__main__":
    main()
