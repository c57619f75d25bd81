# `make` alone lists what there is. Every target makes what it needs and says so; the second time is quick.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test chaos check cluster bench constraints clean

help: ## list the targets
	@echo "zenwatch: make TARGET"
	@sed -n 's/^\([a-z]*\):.*## /  \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

run: $(READY) ## a cluster, some reports, zenwatch at work on them, until Ctrl-C
	@exec $(BIN)/python -m tests.support.controlplane demo

test: check ## everything: the checks, then all tests against a real API server
	@$(BIN)/python -m tests.support.controlplane build
	@exec $(BIN)/python -m pytest $(PYTEST_ARGS)

chaos: $(READY) ## the long form of the fault tests: every fault, many times
	@$(BIN)/python -m tests.support.controlplane build
	@ZENWATCH_CHAOS=long exec $(BIN)/python -m pytest tests/cluster/test_chaos.py -s

check: $(READY) ## lint, format, types, layers, structure: no server needed
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m pytest --quiet --no-header tests/structure

cluster: $(READY) ## a real API server with etcd in the foreground, until Ctrl-C
	@exec $(BIN)/python -m tests.support.controlplane run

bench: $(READY) ## one JSON line per figure; ONLY=name,... for some of them
	@exec $(BIN)/python -m tests.bench

constraints: ## pin the newest allowed versions, with hashes (needs uv)
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --upgrade -q -o constraints.txt
	uv pip compile --group pyproject.toml:go --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --upgrade -q -o constraints-go.txt

clean: ## remove the virtual environment (the control plane stays in its cache)
	rm -rf $(VENV)

# Hashes are checked for all that comes from outside; the project itself has none, hence the second step.
$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "zenwatch needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Making the virtual environment in $(VENV) (about a minute the first time) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "No venv module: install it (Debian: apt-get install python3-venv)."; exit 1; }
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r constraints.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q zenwatch watchers tests || true
	@touch $(READY)
	@echo "Virtual environment ready."
