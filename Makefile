# Every command a person needs. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help install install-dev run demo test lint types tests test-real test-kill format lock clean

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

tests: install-dev
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term

test-real: install-dev ## a real WordPress, mail server and fake Slack: one day from post to weekly report
	$(BIN)/python -m tests.real.run

test-kill: install-dev ## kill -9 the product at 50 random points of the demo day: nothing lost, nothing doubled
	$(BIN)/python -m tests.kill.run

format: install-dev ## format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lock: install-dev ## write the lock files anew (no index address in them)
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-trusted-host --allow-unsafe --strip-extras --extra build --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-trusted-host --allow-unsafe --strip-extras --extra build --extra dev --output-file requirements-dev.lock pyproject.toml

clean: ## remove what was installed and built
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .coverage*
