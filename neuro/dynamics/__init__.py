"""Dynamical systems: chaotic ones to learn from, networks that become them, and measures of how well.

>>> from neuro.dynamics import Forcing, Lorenz63, ShallowPLRNN, reconstruct, simulate
>>> series = simulate(Lorenz63(), 500, 0.01, skip=20.0).float()
>>> model = ShallowPLRNN(3, 20)
>>> _ = reconstruct(model, (series - series.mean(0)) / series.std(0), Forcing(updates=2, length=50))
>>> model.generate(series[:1], 10).shape
torch.Size([10, 1, 3])
"""

from neuro.dynamics.forcing import Forcing, adaptive_alpha, reconstruct
from neuro.dynamics.lyapunov import flow_exponents, lyapunov_exponents, map_exponents
from neuro.dynamics.measures import prediction_error, spectrum_distance, state_space_divergence
from neuro.dynamics.plrnn import PLRNN, DendriticPLRNN, ShallowPLRNN
from neuro.dynamics.systems import Flow, Lorenz63, Lorenz96, Roessler, simulate

__all__ = [
    "PLRNN",
    "DendriticPLRNN",
    "Flow",
    "Forcing",
    "Lorenz63",
    "Lorenz96",
    "Roessler",
    "ShallowPLRNN",
    "adaptive_alpha",
    "flow_exponents",
    "lyapunov_exponents",
    "map_exponents",
    "prediction_error",
    "reconstruct",
    "simulate",
    "spectrum_distance",
    "state_space_divergence",
]
