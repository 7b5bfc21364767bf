# Needs Python 3.11 or newer with pip and venv, and make. A second call installs nothing.
#   make demo    the whole story on the embedded world, and where its report is
#   make test    the tests that take seconds; `.venv/bin/pytest -m slow` runs the others
#   make check   ruff and mypy

PYTHON := $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
DEMO_ARGS ?= --out out/demo

.PHONY: demo test check

demo: .venv/installed
	$(BIN)/workbench demo $(DEMO_ARGS)

test: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with venv was found. Install one, then run make again."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ .venv/installed
