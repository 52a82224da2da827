"""What associative memories hold, beside what theory says: classical, dense and modern ones, no data needed.

Run with ``python examples/associative_memory.py``; takes some seconds and leaves ``associative_memory.png``.
"""

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuro.memory import ModernMemory, one_step_overlap, resting_overlap, retrieval_curve
from neuro.report.style import INK, LAYERS, MUTED, OFF, ON, figure, styled

NEURONS = 400


def classical(axes: Axes) -> None:
    """Overlap against load K / N of pairs: after one step, and where the memory comes to rest."""
    counts = [round(NEURONS * load) for load in (0.02, 0.05, 0.08, 0.1, 0.12, 0.13, 0.14, 0.16, 0.18, 0.22, 0.26, 0.3)]
    fine = [0.01 + 0.002 * k for k in range(146)]
    for steps, colour, said, predicted in (
        (1, OFF, "one step", one_step_overlap),
        (60, ON, "at rest", resting_overlap),
    ):
        found = retrieval_curve(NEURONS, counts, flipped=0.0, steps=steps, queries=40)
        axes.plot(fine, [predicted(load) for load in fine], color=colour, label=f"{said}, theory")
        axes.plot(
            [count / NEURONS for count in counts],
            found,
            "o",
            color=colour,
            markersize=4,
            label=f"{said}, {NEURONS} neurons",
        )
    axes.axvline(0.138, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_title("Hopfield's memory: 0.138 N patterns")
    axes.set_xlabel("stored patterns / neurons")
    axes.set_ylabel("overlap with the pattern meant")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def dense(axes: Axes) -> None:
    """Overlap after one step against the number of patterns, 10 % of the query flipped."""
    neurons = 80
    counts = [3, 6, 12, 25, 50, 100, 250, 600, 1500, 4000, 10000, 25000]
    for order, colour in zip((2, 3, 4), LAYERS, strict=False):
        loads = [count / neurons ** (order - 1) for count in counts]
        found = retrieval_curve(neurons, counts, interaction=order, steps=1, queries=40)
        axes.plot(counts, [one_step_overlap(load, interaction=order, flipped=0.1) for load in loads], color=colour)
        axes.plot(counts, found, "o", color=colour, markersize=4, label=f"groups of {order}")
    found = retrieval_curve(neurons, counts, interaction="exponential", steps=1, queries=40)
    axes.plot(counts, found, "s", color=INK, markersize=3, label="exponential")
    axes.set_xscale("log")
    axes.set_title(f"Dense, {neurons} neurons, one step (lines: theory)")
    axes.set_xlabel("stored patterns")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def modern(axes: Axes) -> None:
    """Relative error of one step against the number of real patterns, noise of half their size in the query."""
    generator = torch.Generator().manual_seed(0)
    counts = [10, 30, 100, 300, 1000, 3000, 10000]
    for size, colour in zip((8, 16, 32, 64), LAYERS, strict=False):
        drawn = torch.randn(counts[-1], size, generator=generator, dtype=torch.float64)
        stored = drawn / drawn.square().mean(1, keepdim=True).sqrt()
        errors = []
        for count in counts:
            meant = stored[:200][:count]
            noisy = meant + 0.5 * torch.randn(meant.shape, generator=generator, dtype=torch.float64)
            found = ModernMemory(stored[:count], beta=1.0).recall(noisy)
            errors.append(float(((found - meant).norm(dim=1) / meant.norm(dim=1)).median().clamp_min(1e-16)))
        axes.plot(counts, errors, "o-", color=colour, markersize=4, label=f"{size} neurons")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title("Modern memory, one step (β = 1)")
    axes.set_xlabel("stored patterns")
    axes.set_ylabel("relative error")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


@styled
def draw() -> Figure:
    """All three side by side, lines where there is a theory."""
    drawn = figure(3.9)
    left, middle, right = drawn.subplots(1, 3)
    classical(left)
    dense(middle)
    modern(right)
    for axes in (left, middle, right):
        axes.grid(axis="y")
    return drawn


def main() -> None:
    """Draw, and say where the picture is."""
    path = Path("associative_memory.png")
    draw().savefig(path, facecolor="white", dpi=160)
    print(
        f"{path}: pairs rest at an overlap of {resting_overlap(0.137):.2f} just below their critical load, at 0 above it"
    )


if __name__ == "__main__":
    main()
