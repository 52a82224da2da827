"""Kernels: from a cell's equations to the loops that run it. Arrays in, arrays out."""

if __name__ != "neuro.kernels":
    raise ImportError("import neuro.kernels; the repository root is on sys.path (use python -P)")

from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import SURROGATES, Surrogate
from neuro.kernels.scans.scan import ScanSpec, scan, scan_trace

__all__ = ["SURROGATES", "Equations", "Parameter", "Route", "ScanSpec", "Surrogate", "scan", "scan_trace"]
