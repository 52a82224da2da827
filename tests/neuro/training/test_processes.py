"""Two processes with half of every batch each end where one with all of it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

import neuro
from neuro.training.processes import own_samples, share, total

SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import torch
import neuro
from toy import make_data, make_net

if __name__ == "__main__":
    neuro.fit(make_net().double(), make_data(), {rule!r}, epochs=2, batch_size=26, devices=2, output={output!r}, progress=False)
"""


@pytest.mark.parametrize("rule", ["bptt", pytest.param("decolle", marks=pytest.mark.slow)])
def test_two_gloo_processes_are_one(toy: ModuleType, tmp_path: Path, rule: str) -> None:
    """53 samples in batches of 26: in the last one, one process has none."""
    script, output = tmp_path / "run.py", tmp_path / "two"
    script.write_text(SCRIPT.format(folder=str(Path(__file__).parent), output=str(output), rule=rule))
    clean = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=clean, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    alone = toy.make_net().double()
    result = neuro.fit(alone, toy.make_data(), rule, epochs=2, batch_size=26)
    both = load_file(output / "network.safetensors")
    for name, value in alone.named_parameters():
        torch.testing.assert_close(both[name], value.detach(), rtol=1e-9, atol=1e-12)
    rows = (output / "metrics.csv").read_text().splitlines()
    assert [float(v) for v in rows[2].split(",")] == pytest.approx(list(result.history[1].values()), rel=1e-9)


def test_one_process_is_the_whole() -> None:
    index = torch.tensor([3, 1, 2])
    assert torch.equal(share(index), index)
    assert own_samples(3) == 3
    assert total(1.5, 2.0, like=index) == (1.5, 2.0)


def test_the_share_of_the_second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuro.training.processes.world_size", lambda: 2)
    monkeypatch.setattr("neuro.training.processes.rank", lambda: 1)
    assert share(torch.tensor([3, 1, 2])).tolist() == [1]
    assert own_samples(3) == 1
    assert share(torch.tensor([5])).tolist() == [5]
    assert own_samples(1) == 0
