"""Event ops beside Tonic 1.7.0 on a real 640x480 recording, interleaved, medians.

    python benchmarks/events.py RECORDING.raw [--threads 1 2]

``RECORDING.raw`` is a Prophesee EVT2 or EVT3 file; every tensor is made from all of its events. Tonic's averaged
surface takes the first 20,000 events only: it is too slow for more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tonic
import torch
from numpy.typing import NDArray
from tonic import transforms

from neuro.datasets.events import make_events
from neuro.kernels.events.filters import denoise, drop_hot_pixels, refractory_filter
from neuro.kernels.events.frames import events_to_frames
from neuro.kernels.events.surfaces import events_to_averaged_surfaces, events_to_surfaces
from neuro.kernels.events.voxels import events_to_voxels

RESULT = Path(__file__).parent / "results" / "events.json"
WINDOW = 1000  # us
FEW = 20_000
Case = tuple[str, str, Callable[[], Any]]


def read_recording(path: Path) -> NDArray[np.void]:
    """Events of an EVT2 or EVT3 file; the header says which."""
    raw = path.read_bytes()
    at, version = 0, ""
    while raw[at : at + 1] == b"%":
        end = raw.index(b"\n", at) + 1
        line = raw[at:end].decode("ascii", "replace").split()
        version = line[2] if line[1:2] == ["evt"] else version
        at = end
    decode, width = {"2.0": (evt2, 4), "3.0": (evt3, 2)}[version]
    return decode(np.frombuffer(raw, f"<u{width}", (len(raw) - at) // width, at).astype(np.int64))


def evt2(words: NDArray[np.int64]) -> NDArray[np.void]:
    """Type in bits 31-28: 0 OFF and 1 ON with time 27-22, x 21-11, y 10-0; 8 the upper 28 bits of the time."""
    kind = words >> 28
    last = np.maximum.accumulate(np.where(kind == 8, np.arange(len(words)), -1))
    event = (kind < 2) & (last >= 0)
    cd = words[event]
    t = (words[last[event]] & 0xFFFFFFF) << 6 | (cd >> 22) & 63
    return make_events(t, (cd >> 11) & 2047, cd & 2047, cd >> 28)


def evt3(words: NDArray[np.int64]) -> NDArray[np.void]:
    """Type in bits 15-12: 0 row, 2 one event, 3 base of vectors, 4 and 5 vectors, 6 and 8 lower and upper time."""
    rows: list[tuple[int, int, int, int]] = []
    low = high = y = base = polarity = 0
    for word in words.tolist():
        kind, value = word >> 12, word & 0xFFF
        if kind == 0:
            y = value & 2047
        elif kind == 2:
            rows.append((high << 12 | low, value & 2047, y, value >> 11))
        elif kind == 3:
            base, polarity = value & 2047, value >> 11
        elif kind in (4, 5):
            bits = 12 if kind == 4 else 8
            rows += [(high << 12 | low, base + k, y, polarity) for k in range(bits) if value >> k & 1]
            base += bits
        elif kind == 6:
            low = value
        elif kind == 8:
            high = value
    return make_events(*np.array(rows).T)


def cases(events: NDArray[np.void], size: tuple[int, int, int]) -> list[Case]:
    """(op, who, call); the first call of an op is Tonic's."""
    start, few = float(events["t"][0]) * 1e-6, events[:FEW]
    us = WINDOW * 1e-6
    frame = transforms.ToFrame(sensor_size=size, time_window=WINDOW)
    voxel = transforms.ToVoxelGrid(sensor_size=size, n_time_bins=5)
    surface = transforms.ToTimesurface(sensor_size=size, dt=WINDOW, tau=5000)
    average = transforms.ToAveragedTimesurface(sensor_size=size)
    found: list[Case] = [("frames", "tonic, int16", lambda: frame(events))]
    frames = partial(events_to_frames, events, size, us, start=start)
    counts: tuple[Any, ...] = ("uint8", "uint16", "int32")
    found += [("frames", f"neuro, {dtype}", partial(frames, dtype=dtype)) for dtype in counts]
    found.append(("frames", "neuro, binary", partial(frames, binary=True)))
    found.append(("voxel grid", "tonic, float64", lambda: voxel(events)))
    found.append(("time surface", "tonic, float64", lambda: surface(events)))
    reals: tuple[Any, ...] = ("float32", "float64")
    for dtype in reals:
        found.append(("voxel grid", f"neuro, {dtype}", partial(events_to_voxels, events, size, 5, dtype=dtype)))
        call = partial(events_to_surfaces, events, size, us, 5e-3, start=start, dtype=dtype)
        found.append(("time surface", f"neuro, {dtype}", call))
    return [
        *found,
        (f"averaged surface, {FEW} events", "tonic", lambda: average(few)),
        (f"averaged surface, {FEW} events", "neuro", lambda: events_to_averaged_surfaces(few, size)),
        ("denoise", "tonic", lambda: transforms.Denoise(filter_time=WINDOW)(events)),
        ("denoise", "neuro", lambda: denoise(events, size, us)),
        ("refractory filter", "tonic", lambda: transforms.RefractoryPeriod(delta=WINDOW)(events)),
        ("refractory filter", "neuro", lambda: refractory_filter(events, size, us)),
        ("hot-pixel filter", "tonic", lambda: transforms.DropPixel(hot_pixel_frequency=10_000)(events)),
        ("hot-pixel filter", "neuro", lambda: drop_hot_pixels(events, size, 10_000.0)),
    ]


def measure(todo: list[Case], repeats: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Median and least milliseconds by op and who; slow calls are repeated less often."""
    took: dict[tuple[str, str], list[float]] = {}
    for number in range(repeats + 1):  # the first round compiles
        for op, who, call in todo:
            times = took.setdefault((op, who), [])
            if len(times) > 2 and times[-1] > 500:
                continue
            begin = time.perf_counter()
            call()
            times.append((time.perf_counter() - begin) * 1e3)
        if number == 0:
            took = {key: [] for key in took}
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for (op, who), times in took.items():
        found.setdefault(op, {})[who] = (round(statistics.median(times), 3), round(min(times), 3))
    return found


def main() -> None:
    """Print the medians and how often faster than Tonic, and keep them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    results: list[dict[str, Any]] = []
    for path in given.recording:
        events = read_recording(path)
        size = (640, 480, 2) if events["x"].max() < 640 and events["y"].max() < 480 else (1280, 720, 2)
        for threads in given.threads:
            torch.set_num_threads(threads)
            found = measure(cases(events, size), given.repeats)
            facts = {"recording": path.name, "events": len(events), "sensor": size, "threads": threads}
            results.append(facts | {"load": os.getloadavg()[0], "milliseconds, median and least": found})
            print(facts)
            for op, row in found.items():
                peer = next(value for who, value in row.items() if who.startswith("tonic"))
                for who, (middle, least) in row.items():
                    ratios = f"{peer[0] / middle:7.1f}x  {peer[1] / least:7.1f}x"
                    print(f"  {op:<32} {who:<16} {middle:10.2f} ms  least {least:10.2f} ms  {ratios}")
    machine = {"python": platform.python_version(), "tonic": tonic.__version__, "cores": os.cpu_count()}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"results": results, **machine}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
