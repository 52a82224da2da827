"""TODO."""

if __name__ != "neuro.datasets":
    raise ImportError("import neuro.datasets; the repository root is on sys.path (use python -P)")
