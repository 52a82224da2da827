# Everything a contributor runs. `make help` lists the targets; the first of them makes .venv, the others reuse it.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# One line, and no start, where torch sees no CUDA device or the kernels have no CuPy.
GPU    := $(BIN)/python -P -c 'import sys, importlib.util as u, torch; torch.cuda.is_available() or sys.exit("no GPU here: torch sees no CUDA device (neuro env says why)"); u.find_spec("cupy") or sys.exit("no CuPy here: $(BIN)/python -m pip install -e .[gpu]")'

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-slow test-gpu test-peers test-all lint format types bench bench-peers bench-gpu package docs clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

install: $(STAMP)  ## make .venv and install neuro with its development tools (other targets do it by themselves)

# A stamp, so that a second run installs nothing. Norse: see requirements-norse.txt.
$(STAMP): pyproject.toml constraints.txt requirements-norse.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"neuro needs Python 3.11 or later; {sys.executable} is {v[0]}.{v[1]}. Name another one: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing neuro and its tools into $(VENV) (the first time takes a few minutes)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --requirement requirements-norse.txt
	@touch $@

demo: $(STAMP)  ## train, evaluate, export and report a network on event-camera digits (runs/demo)
	$(BIN)/neuro train --rule bptt --seed 0 --output runs/demo --overwrite
	$(BIN)/neuro evaluate runs/demo
	$(BIN)/neuro export runs/demo
	$(BIN)/neuro report runs/demo
	@echo "open $(CURDIR)/runs/demo/report.html"

test: $(STAMP)  ## the tests, doctests and documentation blocks (what CI runs)
	$(BIN)/pytest --numprocesses 2 --dist loadfile -m "not slow and not gpu and not elsewhere"

test-slow: $(STAMP)  ## the tests that take longer
	$(BIN)/pytest -m "slow and not gpu and not elsewhere"

test-gpu: $(STAMP)  ## the tests that need a CUDA device
	@$(GPU)
	$(BIN)/pytest -m gpu

test-peers: $(STAMP)  ## the tests beside SpikingJelly, Sinabs and Rockpool, each installed under .venv-peers first
	$(BIN)/python -P benchmarks/peers/run.py --install SpikingJelly Sinabs Rockpool
	$(BIN)/pytest -m elsewhere tests/neuro/compatibility

test-all: $(STAMP)  ## every test, with branch coverage
	$(BIN)/pytest -m "not gpu and not elsewhere" --cov --cov-report=term-missing:skip-covered

lint: $(STAMP)  ## style, types, import directions, spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(STAMP)  ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(STAMP)  ## mypy and pyright
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(STAMP)  ## every benchmark; each writes what it measured into benchmarks/results
	@set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python -P $$script; done

bench-peers: $(STAMP)  ## our layer and network beside every peer, each in its own environment under .venv-peers
	$(BIN)/python -P benchmarks/peers/run.py

bench-gpu: $(STAMP)  ## the benchmarks that need a CUDA device; each writes a table into benchmarks/results
	@$(GPU)
	@set -e; for script in benchmarks/gpu/[a-z]*.py; do echo "== $$script"; $(BIN)/python -P $$script --output benchmarks/results/gpu_$$(basename $$script .py).json; done

package: $(STAMP)  ## build wheel and sdist, and try the wheel in a fresh environment
	$(BIN)/pytest -m "slow" tests/test_packaging.py
	$(BIN)/python -m build --outdir dist

docs: $(STAMP)  ## the documentation as a site
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	$(BIN)/mkdocs build --strict

clean:  ## remove builds and caches; .venv and runs stay
	rm -rf build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
