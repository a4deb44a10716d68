# Two commands do everything: `make up` and `make test`. Both make their own .venv first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
FILE ?=

.PHONY: up test check fmt docs bench soak clean

up: $(READY)
	@$(BIN)/emu up $(FILE)

test: check
	@$(BIN)/pytest -q -n 2 --dist loadfile -m "not alone"
	@$(BIN)/pytest -q -m alone

check: $(STAMP)
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

fmt: $(STAMP)
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .

docs: $(READY)
	@$(BIN)/emu explain --write docs/reference

bench: $(STAMP)
	@$(BIN)/python -m tests.bench all

soak: $(STAMP)
	@$(BIN)/pytest -q -m soak --soak

clean:
	rm -rf .venv

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "emu needs Python 3.11 or newer: try make PYTHON=python3.12")'
	@echo "Preparing .venv (once; well under a minute) ..." >&2
	@$(PYTHON) -m venv .venv
	@$(PIP) -e .
	@touch $@

$(STAMP): $(READY)
	@echo "Adding what the tests need (once) ..." >&2
	@$(PIP) -e '.[test,dev,bench]'
	@touch $@
