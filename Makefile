# What a newcomer needs: `make demo`, `make page`, `make test`. `make check` before every commit.
# Everything is installed into .venv; nothing on the machine is touched. `make .venv/ready` installs what production
# needs (requirements.lock), everything else below what the tests need besides (requirements-dev.lock).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
DEV := $(VENV)/ready-dev
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: demo page test test-fast test-slow check cover bench sizes dist lock clean

demo: $(READY)
	$(BIN)/batchlinks demo || [ $$? -eq 3 ]  # 3: done, and the sample list has rows to fix, as it is meant to

# The upload page with a stand-in for HealthEx behind it: open the address that it prints. Ctrl-C ends it, and nothing stays.
page: $(READY)
	$(BIN)/batchlinks demo --page

test: $(DEV)
	$(BIN)/pytest -n auto

# The rules alone, in seconds, while you work: nothing here starts a server or another process.
FAST := structure screening mixed_lists number_format header delimited settings responses prose
test-fast: $(DEV)
	$(BIN)/pytest -n auto $(wildcard $(FAST:%=tests/test_%.py))

# Wide searches with a fixed seed, which nobody waits for before a commit.
test-slow: $(DEV)
	$(BIN)/pytest -n auto -m slow --timeout 1800

check: $(DEV)
	$(BIN)/ruff format
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --no-warn-unreachable --cache-dir .mypy_cache/windows batchlinks
	$(BIN)/mypy --platform darwin --no-warn-unreachable --cache-dir .mypy_cache/macos batchlinks
	$(BIN)/pytest -n auto

# Which lines no test reaches.
cover: $(DEV)
	$(BIN)/pytest -n auto --cov=batchlinks --cov-report=term-missing:skip-covered

# Beside its peers, on a computer that does nothing else; ONLY=pace for a part. See docs/performance.md.
bench: $(DEV)
	$(BIN)/python -m benchmarks $(ONLY)

# How many megabytes and packages an installation has, with each extra: the table in the README.
sizes: $(DEV)
	$(BIN)/python -m benchmarks.install_sizes

# The wheel and the source archive, in dist/.
dist: $(DEV)
	$(BIN)/hatchling build

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "batchlinks needs Python 3.11 or later; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(READY): pyproject.toml requirements.lock | $(BIN)/python
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-build-isolation --no-deps --editable .
	touch $(READY)

$(DEV): pyproject.toml requirements-dev.lock | $(BIN)/python
	$(PIP) install --require-hashes --requirement requirements-dev.lock
	$(PIP) install --no-build-isolation --no-deps --editable .
	touch $(READY) $(DEV)

# For maintainers: takes the newest versions that fit, for every system and Python at once; UPGRADE= keeps those that do.
# The same in all three files, so that one can be installed over another.
UPGRADE := --upgrade
COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-header $(UPGRADE) --quiet
lock: $(DEV)
	$(PIP) install uv
	printf 'hatchling\neditables\n' | $(COMPILE) - --extra web --extra remote --extra notify --extra letters \
	  --output-file requirements.lock
	$(COMPILE) --extra cluster --constraint requirements.lock --output-file requirements-cluster.lock
	$(COMPILE) --all-extras --constraint requirements.lock --constraint requirements-cluster.lock \
	  --output-file requirements-dev.lock

clean:
	rm -rf $(VENV) dist demo_output .pytest_cache .mypy_cache .ruff_cache .hypothesis
