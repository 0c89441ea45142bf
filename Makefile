# Everything runs from .venv, which `make setup` builds; see README.md.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo serve test check bench study clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Rulesmith needs Python 3.11 or newer; call: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

# EXIT=1 stops after the last step, instead of serving on.
demo: setup
	$(BIN)/python -m service.demo $(if $(EXIT),--exit)

serve: setup
	$(BIN)/rulesmith serve

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m tests.benchmarks

study: setup
	$(BIN)/python -m tests.benchmarks --long

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
