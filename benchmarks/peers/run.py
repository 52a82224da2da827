"""Ours beside the peers on the CPU: each in an environment of its own, rounds interleaved, medians.

``python benchmarks/peers/run.py`` makes the environments under ``.venv-peers`` (slow the first
time), then runs every library in turn, round after round. Writes
``benchmarks/results/peers.json`` and prints a table per job. A library that does not install or
run here is reported with its error.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / ".venv-peers"
RESULT = HERE.parent / "results" / "peers.json"
# What pip installs for each library; those that come with our own development tools use our environment.
OWN = ("neuro", "torch loop", "torch.compile", "snnTorch", "Norse")
PEERS = {
    "SpikingJelly": (["torch==2.13.0", "numpy", "scipy", "tqdm", "matplotlib", "loguru"], ["spikingjelly==2.0.0"]),
    "Sinabs": (["torch==2.13.0", "numpy", "pbr", "matplotlib", "nir==1.0.4", "nirtorch"], ["sinabs==3.1.3"]),
    "spyx": (["spyx==1.0.0"], []),
}
TESTED_ONLY = {"Rockpool": (["torch==2.13.0", "numpy", "scipy"], ["rockpool==3.1.0"])}


def python_of(name: str) -> str:
    """The interpreter that has ``name``; its environment is made if need be."""
    if name in OWN:
        return sys.executable
    folder = ENVIRONMENTS / name.lower()
    python = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        print(f"making {folder.relative_to(ROOT)}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        with_needs, alone = (PEERS | TESTED_ONLY)[name]
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, *with_needs], check=True)
        if alone:  # their declared needs would bring another torch, or a stub that installs things when imported
            subprocess.run([*pip, "--no-deps", *alone], check=True)
        (folder / ".installed").touch()
    return str(python)


def once(name: str, job: str, threads: int, repeats: int) -> dict[str, float] | str:
    """One measurement in a fresh process, or the last line of its error."""
    count = str(threads)
    limits = {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={threads > 1}".lower(),
    }
    command = [python_of(name), "-P", "-W", "ignore"]
    if name == "spyx":
        command += [str(HERE / "jax_worker.py"), job, str(repeats)]
        if threads == 1:
            command = ["taskset", "-c", "0", *command]  # XLA has no other way to be held to one thread
    else:
        command += [str(HERE / "worker.py"), name, job, count, str(repeats)]
    made = subprocess.run(command, env=os.environ | limits, capture_output=True, text=True, check=False)
    if made.returncode:
        return (made.stderr.strip().splitlines() or ["no message"])[-1]
    found: dict[str, float] = json.loads(made.stdout.strip().splitlines()[-1])
    return found


def measure(job: str, threads: int, rounds: int, repeats: int) -> dict[str, dict[str, float] | str]:
    """Every library, interleaved; the median of the rounds."""
    seen: dict[str, list[dict[str, float]]] = {}
    failed: dict[str, str] = {}
    for _ in range(rounds):
        for name in (*OWN, *PEERS):
            if name in failed or (name == "torch.compile" and job != "layer"):  # which compiles for a minute
                continue
            found = once(name, job, threads, repeats)
            if isinstance(found, str):
                failed[name] = found
            else:
                seen.setdefault(name, []).append(found)
    medians = {n: {k: statistics.median(r[k] for r in rows) for k in rows[0]} for n, rows in seen.items()}
    return medians | failed


def show(job: str, threads: int, table: dict[str, dict[str, float] | str]) -> None:
    """Print one table."""
    ours = table["neuro"]
    print(f"\n{job}, {threads} thread(s)   forward ms      x ours     step ms      x ours   output rate   saved MB")
    for name, row in table.items():
        if isinstance(row, str) or isinstance(ours, str):
            print(f"{name:18s} did not run: {row}")
            continue
        ratios = {k: row[k] / ours[k] for k in ("forward", "step")}
        print(
            f"{name:18s} {row['forward']:18.2f} {ratios['forward']:11.1f} {row['step']:11.2f} "
            f"{ratios['step']:11.1f} {row['output rate']:12.1%} {row.get('saved MB', float('nan')):10.1f}"
        )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    install = "only make the environments of these libraries"
    parser.add_argument("--install", nargs="+", choices=[*PEERS, *TESTED_ONLY], help=install)
    options = parser.parse_args()
    if options.install:
        for name in options.install:
            python_of(name)
        return
    results = {}
    for job in ("layer", "network", "recurrent"):
        for threads in options.threads:
            table = measure(job, threads, options.rounds, options.repeats)
            show(job, threads, table)
            results[f"{job}, {threads} threads"] = table
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    RESULT.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
    print(f"\n{RESULT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
