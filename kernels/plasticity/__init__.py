"""Weights that change with the spikes they carry: spike-timing-dependent plasticity, with or without a modulator."""
