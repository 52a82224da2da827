"""What runs the loops: threads and the disk cache on the CPU, CuPy on the GPU, and a shim that runs CUDA text on the CPU."""
