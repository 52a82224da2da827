"""Learning rules on real data by the command line: every configuration in ``examples/``, trained and tested.

``python benchmarks/real_data.py [examples/mnist_sltt.yaml ...] --seeds 0 1 2`` runs ``neuro train`` and ``neuro evaluate``
on one thread for each configuration and seed, and adds accuracy, time and peak memory to ``results/real_data.json``. Runs
that are there already, of the same configuration, are not made again. ``$NEURO_DATA`` is the folder of the data sets.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from neuro.cli.config_file import read_mapping
from neuro.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results" / "real_data.json"
SHARED = os.environ.get("NEURO_SHARED_DATA", str(ROOT.parent / "shared" / "data"))
KEPT = ("dataset", "rule", "loss", "epochs", "best_epoch", "validation_accuracy", "parameters")


def call(*arguments: str) -> dict[str, float]:
    """Run the command on one thread; its wall time, processor time and peak memory."""
    environment = {"NEURO_DATA": SHARED, **os.environ, "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    command = [sys.executable, "-P", "-c", "import sys; from neuro.cli import main; sys.exit(main())", *arguments]
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"neuro {' '.join(arguments)} ended with status {os.waitstatus_to_exitcode(status)}")
    return {
        "wall_seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(used.ru_maxrss / 1000),
    }


def run(config: Path, seed: int) -> dict[str, Any]:
    """Train and test once."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        cost = call("train", "--config", str(config), "--seed", str(seed), "--output", str(folder))
        call("evaluate", str(folder))
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        tested = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        rows = (folder / "metrics.csv").read_text(encoding="utf-8").splitlines()
    column = rows[0].split(",").index("validation_accuracy")
    curve = [round(float(row.split(",")[column]), 4) for row in rows[1:]]
    kept = {name: summary[name] for name in KEPT}
    return {**kept, "test_accuracy": tested["accuracy"], **cost, "validation_curve": curve}


def add(name: str, settings: dict[str, Any], seed: int, made: dict[str, Any]) -> None:
    """Put a run beside those that are there; runs of an earlier version of the configuration go."""
    rows = known()
    entry = rows.get(name, {})
    runs = entry["runs"] if entry.get("settings") == settings else {}
    rows[name] = {"settings": settings, "runs": dict(sorted({**runs, str(seed): made}.items()))}
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(dict(sorted(rows.items())), indent=2) + "\n", encoding="utf-8")


def known() -> dict[str, Any]:
    """What was measured before."""
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return found


def main() -> None:
    """The configurations and seeds of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", type=Path, nargs="*", default=sorted((ROOT / "examples").glob("*.yaml")))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    if not Path(os.environ.get("NEURO_DATA", SHARED)).is_dir():
        print(f"left out: no data sets at {SHARED}; set NEURO_DATA to the folder they are in")
        return
    for seed in options.seeds:
        for config in options.configs:
            settings = read_mapping(config)
            entry = known().get(config.stem, {})
            if entry.get("settings") == settings and str(seed) in entry["runs"]:
                continue
            made = run(config.resolve(), seed)
            add(config.stem, settings, seed, made)
            print(config.stem, seed, json.dumps(made), flush=True)


if __name__ == "__main__":
    main()
