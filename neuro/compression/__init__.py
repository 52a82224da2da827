"""Less work for the same answer: networks made spiking from ordinary ones, and networks of fewer time steps."""

from neuro.compression.conversion import convert
from neuro.compression.latency import LatencyStage, first_steps, reduce_latency
from neuro.compression.qcfs import QCFS, use_qcfs

__all__ = ["QCFS", "LatencyStage", "convert", "first_steps", "reduce_latency", "use_qcfs"]
