"""Irregularly sampled real data: LTC, CfC and LRU beside LSTM and GRU, trained alike in one script.

Of daily minimum temperatures (Melbourne, 1981 to 1990) three days in ten are kept, drawn anew in each batch of
training and once for validation and test. At each kept day a model gets the temperature, the days to the next kept
one, and predicts the temperature there. Years 1 to 6 train, 7 and 8 choose the step to keep, 9 and 10 test.
Liquid cells get the days as elapsed time too; each learning rate is the best of two by validation.

``python benchmarks/irregular.py [daily-min-temperatures.csv]`` prints and writes ``results/irregular.json``.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import os
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro

RESULT = Path(__file__).parent / "results" / "irregular.json"
SHARED = Path(os.environ.get("NEURO_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
DATA = SHARED / "timeseries" / "daily-min-temperatures.csv"
UNITS, LENGTH, BATCH, KEPT = 32, 40, 32, 0.3
RATES = (0.003, 0.01)
WEEK = 7.0  # days that count as one unit of time


class Model(nn.Module):
    """A recurrent core between the two numbers seen at a kept day and the temperature at the next one."""

    def __init__(self, core: str) -> None:
        super().__init__()
        made: dict[str, Callable[[], nn.Module]] = {
            "LTC": lambda: neuro.LTC(2, UNITS),
            "CfC": lambda: neuro.CfC(2, UNITS, hidden=64),
            "LRU": lambda: neuro.Sequential(neuro.Linear(2, UNITS), neuro.LRU(UNITS)),
            "LSTM": lambda: nn.LSTM(2, UNITS),
            "GRU": lambda: nn.GRU(2, UNITS),
        }
        self.core = made[core]()
        self.hidden, self.read = nn.Linear(UNITS + 2, UNITS), nn.Linear(UNITS, 1)

    def forward(self, seen: Tensor) -> Tensor:
        """``[T, B, 2] -> [T, B]``."""
        liquid = isinstance(self.core, neuro.LTC | neuro.CfC)
        y, _ = self.core(seen, None, seen[:, :, 1]) if liquid else self.core(seen)
        made: Tensor = self.read(F.gelu(self.hidden(torch.cat([y, seen], 2)))).squeeze(2)
        return made + seen[:, :, 0]


def sequences(days: Tensor, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``number`` stretches of kept days of ``days [D]``: seen ``[T, B, 2]`` and the next temperature ``[T, B]``."""
    seen, wanted = [], []
    for _ in range(number):
        kept = (torch.rand(len(days), generator=generator) < KEPT).nonzero().squeeze(1)
        start = int(torch.randint(len(kept) - LENGTH - 1, (1,), generator=generator))
        at = kept[start : start + LENGTH + 1]
        seen.append(torch.stack([days[at[:-1]], at.diff() / WEEK], 1))
        wanted.append(days[at[1:]])
    return torch.stack(seen, 1), torch.stack(wanted, 1)


def error(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """Mean square over the second half of each stretch, ``data`` as of :func:`sequences`, ``[T, B, ...]``."""
    with torch.no_grad():
        made = model(data[0])
    return float(F.mse_loss(made[LENGTH // 2 :], data[1][LENGTH // 2 :]))


def train(core: str, rate: float, seed: int, parts: Mapping[str, Tensor], steps: int) -> tuple[float, float]:
    """Error in validation and test at the step that was best in validation."""
    torch.manual_seed(seed)
    model, generator = Model(core), torch.Generator().manual_seed(seed)
    fixed = torch.Generator().manual_seed(1000)
    held = {name: sequences(parts[name], 200, fixed) for name in ("validation", "test")}
    optimizer = torch.optim.Adam(model.parameters(), rate)
    best, kept = float("inf"), copy.deepcopy(model)
    for step in range(1, steps + 1):
        seen, wanted = sequences(parts["train"], BATCH, generator)
        optimizer.zero_grad()
        F.mse_loss(model(seen), wanted).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 0 and (now := error(model, held["validation"])) < best:
            best, kept = now, copy.deepcopy(model)
    return best, error(kept, held["test"])


def load(path: Path) -> Mapping[str, Tensor]:
    """Temperatures of the three parts, each ``[D]``, in standard deviations of the first."""
    with path.open(newline="") as file:
        values = torch.tensor([float(row[1].strip("?")) for row in list(csv.reader(file))[1:] if len(row) == 2])
    first, second = 6 * 365, 8 * 365
    scaled = (values - values[:first].mean()) / values[:first].std()
    return MappingProxyType({"train": scaled[:first], "validation": scaled[first:second], "test": scaled[second:]})


def main() -> None:
    """Train every model and write the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    if not options.data.is_file():
        print(f"left out: no recording at {options.data}; name the file, or set NEURO_SHARED_DATA to its folder")
        return
    torch.set_num_threads(1)
    parts = load(options.data)
    table = {}
    for core in ("LSTM", "GRU", "LTC", "CfC", "LRU"):
        runs = []
        for seed in range(options.seeds):
            runs.append(min(train(core, rate, seed, parts, options.steps) for rate in RATES)[1])
        table[core] = {"test_mse": round(statistics.mean(runs), 4), "seeds": [round(r, 4) for r in runs]}
        print(core, json.dumps(table[core]), flush=True)
    held = sequences(parts["test"], 200, torch.Generator().manual_seed(2000))
    last = float(F.mse_loss(held[0][LENGTH // 2 :, :, 0], held[1][LENGTH // 2 :]))
    found = {"steps": options.steps, "units": UNITS, "last_value_mse": round(last, 4), "models": table}
    options.output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
