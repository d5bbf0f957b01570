# bitkiln: `make demo` and `make test` work on a machine with python3 (3.11 or newer), make and a C++ compiler.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup demo docs lint test clean

help: ## list what can be made
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(READY) ## make .venv with the versions of constraints.txt

demo: $(READY) examples/digits/weights.safetensors ## train, compress, generate, verify and build the digits network
	$(BIN)/bitkiln run examples/digits/project.toml

examples/digits/weights.safetensors: examples/digits/model.py examples/digits/train.py | $(READY)
	$(BIN)/python examples/digits/train.py

docs: $(READY) ## the documentation as a site in build/site; a broken link is an error
	$(BIN)/python -m sphinx -q -W --keep-going -c docs . build/site

lint: $(READY) ## style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: lint ## lint, then the whole test suite
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

clean: ## remove .venv and everything that was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# PyTorch goes first and alone: the resolver then keeps the build that is there instead of looking for another.
# setuptools comes with it so that bitkiln is built with the pinned one.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "bitkiln needs Python 3.11 or newer, not `$(PYTHON) --version`; choose another: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt torch setuptools
	$(PIP) install -c constraints.txt --no-build-isolation --editable '.[all]'
	# The first call of a WebAssembly program compiles it, for a minute; later ones find it in the user's cache.
	for tool in yosys nextpnr-ice40 nextpnr-ecp5 nextpnr-himbaechel-gowin icepack ecppack; do \
	  $(BIN)/python -P bitkiln/hdl/_deep_stack.py yowasp-$$tool --help > /dev/null 2>&1 || true; done
	@touch $@
