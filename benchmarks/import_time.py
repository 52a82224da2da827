"""How long a fresh process takes to import neuro beyond torch, and to run a kernel for the first time.

The kernel is measured twice: with an empty cache folder (it compiles) and with the one that this left behind.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RESULT = Path(__file__).parent / "results" / "import_time.json"
REPEATS = 5
TIMED = """
import time
import torch
{before}
start = time.perf_counter()
{code}
print(time.perf_counter() - start)
"""
FIRST_RUN = "z, _ = neuro.LIF(10)(torch.ones(5, 2, 10)); z.sum().backward()"


def seconds(code: str, before: str = "", cache: str | None = None) -> float:
    """Wall time of ``code`` in seconds, in an interpreter of its own in which torch is already imported."""
    environment = os.environ | ({} if cache is None else {"NEURO_CACHE": cache})
    command = [sys.executable, "-P", "-c", TIMED.format(before=before, code=code)]
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def measure() -> dict[str, float]:
    """Medians in seconds."""
    imports = [seconds("import neuro") for _ in range(REPEATS)]
    cells = [seconds("neuro.LIF", "import neuro") for _ in range(REPEATS)]
    compiled, cached = [], []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as cache:
            compiled.append(seconds(FIRST_RUN, "import neuro", cache))
            cached.append(seconds(FIRST_RUN, "import neuro", cache))
    samples = {
        "import neuro, beyond torch": imports,
        "first neuro.LIF (imports the compiler)": cells,
        "first forward and backward, empty cache": compiled,
        "first forward and backward, cached": cached,
    }
    return {name: round(statistics.median(values), 3) for name, values in samples.items()}


def main() -> None:
    """Print the medians and keep them beside this file."""
    found = measure()
    for name, value in found.items():
        print(f"{name:<42} {value:8.3f} s")
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "repeats": REPEATS}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"seconds": found, **machine}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
