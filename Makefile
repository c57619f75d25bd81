# `make` alone lists what there is. Every target makes what it needs and says so; the second time is quick.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PYTEST_ARGS ?=
# A lock file names every package and its hashes, so pip has nothing to resolve: it never looks for newer releases. No package is
# built from source either: what builds it would come unpinned. tests/support/controlplane/binaries/compiler.py installs with the same flags.
PINNED := --require-hashes --no-deps --only-binary :all:
# Nor does pip look for a newer pip.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --upgrade -q

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
	@command -v uv >/dev/null || { echo "make constraints needs uv. Install it: pip install uv" >&2; exit 1; }
	$(COMPILE) pyproject.toml --group dev -o constraints.txt
	$(COMPILE) --group pyproject.toml:go -o constraints-go.txt
	$(COMPILE) --group pyproject.toml:pip -o tests/support/lock/pip-newest.txt
	$(COMPILE) --group pyproject.toml:pip --resolution lowest -o tests/support/lock/pip-oldest.txt

clean: ## remove the virtual environment (the control plane stays in its cache)
	rm -rf $(VENV)

# Hashes are checked for all that comes from outside; the project itself has none, hence the second step.
$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "zenwatch needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Making the virtual environment in $(VENV) (about a minute the first time) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "No venv module: install it (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet $(PINNED) -r constraints.txt || { \
		echo "Could not install the packages that constraints.txt pins; pip says why above." >&2; \
		echo "No connection: set HTTPS_PROXY for a proxy, PIP_INDEX_URL for another package index." >&2; \
		echo "No such version, or another hash from an index that you trust: renew the pins with make constraints." >&2; \
		echo "No wheel for this Python: make PYTHON=python3.12 ..." >&2; \
		exit 1; }
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . || { \
		echo "Could not install zenwatch itself; pip says why above. Start afresh: make clean, then the same command." >&2; exit 1; }
	@$(BIN)/python -m compileall -q zenwatch watchers tests || true
	@touch $(READY)
	@echo "Virtual environment ready."
