"""Recorded files of the NIR paper (Pedersen et al. 2024), made by other libraries and hardware."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from neuro.errors import InputError
from neuro.hardware import read

pytestmark = pytest.mark.data


@pytest.fixture
def paper(shared_data: Path, tmp_path: Path) -> Path:
    archive = shared_data / "nir_paper" / "nir_paper_golden.tar.xz"
    if not archive.is_file():
        pytest.skip(f"no {archive}")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path


def test_the_single_neuron_of_the_nir_paper_fires_when_it_should(paper: Path) -> None:
    """Pedersen et al. 2024, task 1: exact solution, Norse, snnTorch, Nengo, SpiNNaker2 agree on four spikes."""
    net = read(paper / "01_lif/lif_norse.nir", dt=1e-4, method="euler")
    for platform in ("exact", "norse", "snntorch", "nengo", "spinnaker2"):
        current, _, spikes = np.loadtxt(paper / f"01_lif/lif_{platform}.csv", delimiter=",", dtype=np.float32).T
        z, _ = net(torch.from_numpy(current.copy()).view(-1, 1, 1))
        assert torch.nonzero(z.flatten()).flatten().tolist() == np.flatnonzero(spikes).tolist() == [460, 510, 710, 760]


def test_other_files_of_the_nir_paper(paper: Path) -> None:
    cnn = read(paper / "02_cnn/cnn_sinabs.nir", dt=1.0, method="euler")
    assert [type(layer).__name__ for layer in cnn.layers.values()][:5] == ["Conv2d", "IF", "Conv2d", "IF", "SumPool2d"]
    assert cnn(torch.ones(2, 1, 2, 34, 34))[0].shape == (2, 1, 10)
    with pytest.raises(InputError, match=r"node 'output' .*field 'shape' = \(1, 1, 1\) contradicts \(1,\)"):
        read(paper / "01_lif/lif_rockpool.nir", dt=1e-4, method="euler")
    assert read(paper / "01_lif/lif_rockpool.nir", dt=1e-4, method="euler", allow=("shape",)).dt == 1e-4
    for name in ("bias_zero", "noBias_subtract"):
        with pytest.raises(InputError, match=r"feed each other; neuro.Sequential has no recurrent connections"):
            read(paper / f"03_rnn/braille_noDelay_{name}.nir", dt=1e-4, method="euler")
