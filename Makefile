# `make demo` and `make test` need nothing but Python 3.11-3.13; they set up .venv themselves.
PYTHON ?= python3
BIN := .venv/bin

# Tests start many processes: what one has compiled, the next ones read.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-slow test-gpu lint bench dist docs

demo: .venv/installed
	$(BIN)/rayal demo

# Several processes with several threads each share the cores: a thread that waits must not spin.
test test-slow: export OMP_WAIT_POLICY := PASSIVE

test: .venv/installed
	$(BIN)/pytest -n logical --maxprocesses 4

test-slow: .venv/installed
	$(BIN)/pytest -m slow

test-gpu: .venv/installed
	$(BIN)/pytest -m gpu

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The same commit gives the same wheel: its times are those of the commit.
dist: .venv/installed
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct || date +%s) $(BIN)/python -m build --no-isolation

bench: .venv/installed
	$(BIN)/python jobs/bench/scoring.py
	$(BIN)/python jobs/bench/cycle.py
	$(BIN)/python jobs/bench/training.py
	$(BIN)/python jobs/bench/strategies.py
	$(BIN)/python jobs/bench/pool.py

docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip # resolves in a sixth
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]'
	touch $@
