# Everything a checkout needs is made by the target that needs it: `make demo` works on a machine
# with nothing but Python 3.11+, make and a network. PYTHON=... chooses the interpreter.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# The newest supported Python, where the tests also run: DIR/bin/python of pyenv will do.
NEWEST ?= python3.13
NEWEST_VENV ?= .venv-newest
RUN    := .ci/stage
PYTEST := $(BIN)/python -m pytest
ARGS   ?=
MINUTES ?= 60
WORKERS ?= 2
SEEDS  ?= 300
FIRST  ?= 0
SEED   ?=

# Test levels, cheapest first. A level without tests fails: pytest then exits with 5.
LEVELS := unit golden conformance kit attack simulation integration benchmarks

# For every platform and Python that memfs runs on, with the hashes of all files.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-header

.DEFAULT_GOAL := help
.PHONY: help demo test test-nightly test-newest test-fast test-integrations bench simulate mutants nemesis fuzz fuzz-mount lint format blocking reference docs lock dist clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##/\1:/p' $(MAKEFILE_LIST) | awk -F': *' '{printf "  make %-17s %s\n", $$1, $$2}'

demo: $(VENV)/.core  ## three nodes on this machine hold the standard library and a 1 GiB file
	@$(BIN)/python -u examples/demo.py $(ARGS)

test: $(VENV)/.dev $(VENV)/.docs  ## lint, the site, then every level of tests; what .ci/run runs
	@$(MAKE) --no-print-directory -j2 lint docs
	@WORKERS=$(WORKERS) .ci/levels "$(PYTEST)" "not nightly" $(LEVELS)

test-newest: $(NEWEST_VENV)/.dev  ## unit and conformance tests on the newest supported Python, NEWEST=python3.13
	@WORKERS=$(WORKERS) .ci/levels "$(NEWEST_VENV)/bin/python -m pytest" "not nightly" unit golden conformance

test-nightly: $(VENV)/.dev  ## what takes too long for each change: more of everything, see docs/testing.md
	@$(MAKE) test-newest
	@HYPOTHESIS_PROFILE=nightly WORKERS=$(WORKERS) .ci/levels "$(PYTEST) --timeout 3600" "nightly or not nightly" unit kit
	@WORKERS=$(WORKERS) .ci/levels "$(PYTEST)" nightly integration
	@$(MAKE) test-integrations
	@$(MAKE) simulate SEEDS=3000 FIRST=100
	@$(MAKE) mutants

test-fast: $(VENV)/.dev  ## unit and conformance tests, under a minute
	@$(PYTEST) --numprocesses $(WORKERS) --dist loadfile tests/unit tests/conformance

test-integrations: $(VENV)/.dev  ## other people's libraries in several releases; ARGS="-k zarr"
	@$(PYTEST) tests/libraries tests/integration/test_store_kinds.py tests/integration/test_store_kills.py $(ARGS)

bench: $(VENV)/.dev  ## every benchmark beside its peer or limit; ARGS="--smoke", "--only stat", "--json"
	@$(BIN)/python -m benchmarks $(ARGS)

simulate: $(VENV)/.dev  ## whole clusters under random faults, SEEDS=300 from FIRST=0, on all cores
	@$(BIN)/python -m tests.support.campaign --seeds $(SEEDS) --first $(FIRST) $(ARGS)

mutants: $(VENV)/.dev  ## take one guard out at a time: the simulation must notice each
	@$(BIN)/python -m tests.support.mutants $(ARGS)

nemesis: $(VENV)/.dev  ## faults on real processes for MINUTES=60, from SEED; ARGS="--help" tells more
	@$(BIN)/python -m tests.support.nemesis --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: $(VENV)/.fuzz  ## hostile bytes guided by coverage for MINUTES=60; ARGS="messages journal"
	@$(BIN)/python -m tests.support.fuzzing --minutes $(MINUTES) $(ARGS)

fuzz-mount: $(VENV)/.dev  ## random operations on two mounts beside tmpfs, processes killed, for MINUTES=60
	@$(BIN)/python -m tests.support.mount_fuzz --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

lint: $(VENV)/.dev  ## style, formatting, types and layers
	@$(RUN) "ruff check"    $(BIN)/ruff check --quiet .
	@$(RUN) "ruff format"   $(BIN)/ruff format --quiet --check .
	@$(RUN) "mypy --strict" $(BIN)/mypy --strict
	@$(RUN) "import layers" $(BIN)/lint-imports
	@$(RUN) "blocking API"  $(BIN)/python .ci/unasync.py --check

format: $(VENV)/.dev  ## let ruff fix what it can
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

blocking: $(VENV)/.dev  ## the blocking API's delegations, from the asynchronous API
	@$(BIN)/python .ci/unasync.py

reference: $(VENV)/.dev  ## the pages of docs/reference, from the docstrings
	@$(BIN)/python docs/build_reference.py

docs: $(VENV)/.docs  ## the site, in site/; a link that leads nowhere is an error
	@$(RUN) "site" $(BIN)/mkdocs build --strict

lock: $(VENV)/.dev  ## pin what the container image is made of; ARGS=--upgrade takes the newest
	@$(BIN)/python -m pip install --quiet uv
	@$(LOCK) --extra jwt pyproject.toml --output-file deploy/requirements.lock $(ARGS)
	@sed -n 's/^requires = \["\(.*\)"\]/\1/p' pyproject.toml | $(LOCK) - --output-file deploy/build.lock $(ARGS)

dist: $(VENV)/.dev  ## wheel and sdist, in dist/
	@$(BIN)/python -m build --outdir dist .

clean:  ## remove the environment, the caches and what was built
	@rm -rf $(VENV) $(NEWEST_VENV) dist build site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment: .core is what a user of memfs has, .dev adds what tests and benchmarks need.
$(BIN)/python:
	@$(RUN) "environment in $(VENV)" .ci/environment $(PYTHON) $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/python
	@$(RUN) "install memfs" $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@$(RUN) "install memfs[dev,bench]" $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	@touch $@ $(VENV)/.core

$(NEWEST_VENV)/.dev: pyproject.toml
	@$(RUN) "environment in $(NEWEST_VENV)" .ci/environment $(NEWEST) $(NEWEST_VENV)
	@$(RUN) "install memfs[dev]" $(NEWEST_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(VENV)/.fuzz: pyproject.toml | $(VENV)/.dev
	@$(RUN) "install memfs[fuzz]" $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@touch $@

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	@$(RUN) "install memfs[docs]" $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@ $(VENV)/.core
