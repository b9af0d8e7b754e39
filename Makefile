# Nothing a user needs is only here: each target spells out the commands it runs.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint bench system clean

demo: $(VENV)/.installed
	$(BIN)/latticescape demo

test: $(VENV)/.tested system
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# A peer that cannot be installed is left out of the comparison, which says so.
bench: $(VENV)/.tested
	-$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[bench]"
	-$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[bench-alloys]"
	$(BIN)/python -m benchmarks

# The browser that tests open pictures in; without root the tests that need it say so and skip.
system:
	@command -v chromium >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	  else echo "no chromium: browser tests will be skipped (apt-get install chromium)"; fi; }

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) latticescape-demo .pytest_cache .mypy_cache .ruff_cache
