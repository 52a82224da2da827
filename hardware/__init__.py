"""TODO."""

if __name__ != "neuro.hardware":
    raise ImportError("import neuro.hardware; the repository root is on sys.path (use python -P)")
