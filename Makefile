# Two commands do all the set-up on a machine with Python >= 3.11, make and git: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
RUN := .venv/.run-installed
DEV := .venv/.dev-installed
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LINES := 400
# Three on two cores: a third of the time a test waits for a server.
TEST_WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup up demo check format-check lint types imports sizes test dovecot bench drill lock

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(DEV) ## everything that running, checking and testing need, in .venv

up: $(RUN) ## the whole platform on this machine, until Ctrl-C
	$(BIN)/coldstream up

demo: $(RUN) ## a whole campaign in a sandbox world on a fast clock; ends with a receipt
	$(BIN)/coldstream demo

check: $(DEV) ## format, lint, types, import borders, file sizes
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target types format-check lint imports sizes

format-check:
	$(BIN)/ruff format --check --quiet .

lint:
	$(BIN)/ruff check --quiet .

types:
	$(BIN)/pyright --warnings

imports:
	$(BIN)/lint-imports --no-logo

sizes: # a file holds one idea: at most $(LINES) lines
	@git ls-files --cached --others --exclude-standard '*.py' | xargs wc -l | awk '$$2 != "total" && $$1 > $(LINES) {print $$2 " has " $$1 " lines, the limit is $(LINES)"; bad = 1} END {exit bad}'

test: $(DEV) ## every test: unit, contract, e2e
	$(BIN)/python -m pytest --numprocesses=$(TEST_WORKERS)

dovecot: $(DEV) ## replies against a real mail server, out of Debian's packages (they are fetched, nothing is installed)
	@$(BIN)/python -m tests.dovecot.install .venv/dovecot
	$(BIN)/python -m pytest tests/dovecot

bench: $(DEV) ## benchmarks, as ratios against a bare baseline run beside them
	$(BIN)/python -m benchmarks

drill: $(DEV) ## the fault drills with their full numbers (long)
	COLDSTREAM_DRILL=1 $(BIN)/python -m pytest tests/e2e

lock: # writes both lock files anew: hashes, and no addresses
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --extra local pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --all-extras --group dev --constraint requirements.lock pyproject.toml -o requirements-dev.lock

$(BIN)/python:
	$(PYTHON) -m venv .venv

$(RUN): requirements.lock pyproject.toml | $(BIN)/python
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements-dev.lock $(RUN)
	$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@
