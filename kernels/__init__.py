"""Kernels: from a cell's equations to the loops that run it. Arrays in, arrays out."""

if __name__ != "neuro.kernels":
    raise ImportError("import neuro.kernels; the repository root is on sys.path (use python -P)")

from neuro.kernels.equations import Equations, Parameter
from neuro.kernels.route import Route
from neuro.kernels.scan import ScanSpec, scan, scan_trace
from neuro.kernels.surrogate import SURROGATES, Surrogate

__all__ = ["SURROGATES", "Equations", "Parameter", "Route", "ScanSpec", "Surrogate", "scan", "scan_trace"]
