"""neuro: train, simulate and deploy spiking networks."""

__version__ = "0.1.0"
