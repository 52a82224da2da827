"""TODO."""

if __name__ != "neuro.kernels":
    raise ImportError("import neuro.kernels; the repository root is on sys.path (use python -P)")
