# Every command a person needs. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help install install-dev run demo test lint types tests coverage test-machine test-journeys test-real test-servers test-kill test-silent test-api format lock clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25'

$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing Quansheng into $(VENV) (first time: a few minutes) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

install: $(VENV)/.runtime ## install everything that the product needs into .venv

install-dev: $(VENV)/.dev ## the tools of tests and checks too

run: install ## start the product on its embedded default, fed by the demo city; prints the console's address
	$(BIN)/quansheng demo

test: lint types tests ## every check: lint, types, tests

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install-dev
	$(BIN)/mypy

# more processes than two cores: half of a test's time is waiting for others
tests: install-dev
	$(BIN)/python -m pytest -n 3

coverage: install-dev ## the tests once more, with the branches that they reach (half as long again)
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term

SEED ?= 1000
test-machine: install-dev ## other histories of the response's state machine than `make test` plays: SEED=1000, QUANSHENG_STEPS=100000
	QUANSHENG_SEED=$(SEED) $(BIN)/python -m pytest -n 2 tests/test_machine.py

test-journeys: install-dev ## the console in a real Chromium: a journey for each role, axe-core over every page (on demand, 4 minutes)
	timeout --signal=INT --kill-after=60 2400 $(BIN)/python -m pytest tests/journeys.py

test-real: install-dev ## a real WordPress, mail server and fake Slack: one day from post to weekly report; and a real forum
	$(BIN)/python -m tests.real.run
	$(BIN)/python -m tests.real.forum

test-servers: install-dev ## two releases of RSSHub and an AT protocol server from npm, on demand (the first time 20 minutes, a C++ compiler)
	$(BIN)/python -m tests.real.servers $(SERVERS)

test-kill: install-dev ## kill -9 the product at 50 points of the demo day, and the alert engine 1,000 times: nothing lost, nothing doubled
	$(BIN)/python -m tests.kill.run
	$(BIN)/python -m tests.kill.pages --kills 1000

test-silent: install-dev ## six failures of the system itself, on real products all at once: each is seen by a person within 5 minutes (8 minutes, root)
	$(BIN)/python -m tests.silent.run $(SILENT)

test-api: install-dev ## schemathesis asks every operation of the HTTP API 400 times, allowed and broken values (some minutes)
	$(BIN)/python -m tests.contract --examples 200 $(API)

format: install-dev ## format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lock: install-dev ## write the lock files anew (no index address in them)
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --allow-unsafe --strip-extras --extra build --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --allow-unsafe --strip-extras --extra build --extra dev --output-file requirements-dev.lock pyproject.toml
	cd tests/real && for name in spirit node; do $(CURDIR)/$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --allow-unsafe --strip-extras --output-file $$name-requirements.lock $$name-requirements.in || exit 1; done

clean: ## remove what was installed and built
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .coverage*
