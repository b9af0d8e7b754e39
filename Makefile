# Nothing a user needs is only here: each target spells out the commands it runs.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint bench system storage clean

demo: $(VENV)/.installed
	$(BIN)/latticescape demo

test: $(VENV)/.tested system storage
	$(BIN)/python -m pytest -n 3 --dist worksteal

lint: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# A peer that cannot be installed is left out of the comparison, which says so.
bench: $(VENV)/.tested
	-$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[bench]"
	-$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[bench-alloys]"
	$(BIN)/python -m benchmarks

# What tests start for real: a browser, SLURM, networks. Without root those that need it skip, and say so.
SYSTEM = chromium slurm-wlm munge iproute2
PROGRAMS = chromium slurmctld slurmd munged ip
system:
	@PATH="$$PATH:/usr/sbin:/sbin"; missing=; \
	for program in $(PROGRAMS); do command -v $$program >/dev/null || missing="$$missing $$program"; done; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SYSTEM) >/dev/null; \
	else echo "without$$missing: tests of these will be skipped (apt-get install $(SYSTEM))"; fi

# An object storage for tests, in an environment of its own (.venv-s3). Without it those tests skip.
storage: $(VENV)/.tested
	-$(BIN)/python -m tests.support.object_storage

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[all]"
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[all,test]"
	touch $@

clean:
	rm -rf $(VENV) .venv-s3 .venv-s3.lock latticescape-demo .pytest_cache .mypy_cache .ruff_cache
