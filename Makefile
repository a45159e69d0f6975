# What a newcomer needs: `make demo`, `make test`. `make check` before every commit.
# Everything is installed into .venv from requirements.lock; nothing on the machine is touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test test-fast test-slow check cover bench lock clean

demo: $(READY)
	$(BIN)/batchlinks demo || [ $$? -eq 3 ]  # 3: done, and the sample list has rows to fix, as it is meant to

test: $(READY)
	$(BIN)/pytest -n auto

# The rules alone, in seconds, while you work: nothing here starts a server or another process.
FAST := structure links whose_link screening identifier number_format header id_column people delimited pace settings
test-fast: $(READY)
	$(BIN)/pytest -n auto $(wildcard $(FAST:%=tests/test_%.py))

# Wide searches with a fixed seed, which nobody waits for before a commit.
test-slow: $(READY)
	$(BIN)/pytest -n auto -m slow --timeout 1800

check: $(READY)
	$(BIN)/ruff format
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --no-warn-unreachable --cache-dir .mypy_cache/windows batchlinks
	$(BIN)/mypy --platform darwin --no-warn-unreachable --cache-dir .mypy_cache/macos batchlinks
	$(BIN)/pytest -n auto

# Which lines no test reaches.
cover: $(READY)
	$(BIN)/pytest -n auto --cov=batchlinks --cov-report=term-missing:skip-covered

# Beside its peers, on a computer that does nothing else; ONLY=pace for a part. See docs/performance.md.
bench: $(READY)
	$(BIN)/python -m benchmarks $(ONLY)

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "batchlinks needs Python 3.11 or later; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $(READY)

# For maintainers: takes the newest versions that fit, for every system and Python at once.
lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --upgrade --quiet --output-file requirements.lock

clean:
	rm -rf $(VENV) demo_output .pytest_cache .mypy_cache .ruff_cache .hypothesis
