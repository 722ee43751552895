# Two commands do everything on a machine with Python 3.11, pip and make: `make run` and `make test`.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/ready

.PHONY: help run test test-slow test-long ui sql notebook docs bench calibrate calibrate-evidence calibrate-books calibrate-models calibrate-universe lock clean

help: ## Show the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

# The virtual environment, exactly as requirements.lock pins it. A half-made one is made again.
$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed; $(PYTHON) was not found (set PYTHON=/path/to/python3.11)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing (once, about a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . 2>.venv/install.log \
	  || { cat .venv/install.log >&2; exit 1; }
	@touch $(READY)

# For commands of `dagster` in this folder, which let it win over the environment; a server has none.
.env:
	@mkdir -p warehouse/.dagster && cp dagster.yaml warehouse/.dagster/
	@echo 'DAGSTER_HOME=$(CURDIR)/warehouse/.dagster' > .env

run: $(READY) .env ## Bring everything up to date and end with the path of the report
	@$(BIN)/blofin run

test: $(READY) ## Lint, types, layers, fast tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

test-slow: $(READY) ## The tests that take seconds or minutes each
	@$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder -m 'slow and not long'

test-long: $(READY) ## The tests that run whole cycles many times over: kills, faults of Claude, disturbances
	@$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder -m long

ui: $(READY) .env ## Dagster's UI and daemon on http://127.0.0.1:3000
	@$(BIN)/blofin ui

sql: $(READY) ## A prompt for queries, reading only
	@$(BIN)/blofin sql

notebook: $(READY) ## Notebooks in the browser: a first look, a strategy, a feature, a book, a report
	@$(BIN)/marimo edit notebooks

docs: $(READY) .venv/docs ## Build the documentation site in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.venv/docs: $(READY) requirements-docs.lock
	@echo "installing the tools of the site (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock -r requirements-docs.lock
	@touch $@

bench: $(READY) ## Measure, print one table, and write docs/BENCHMARKS.md
	@$(BIN)/python benchmarks/run.py

calibrate: $(READY) ## Run the search on markets whose truth is known (under an hour on two cores; goes on where it was stopped)
	@$(BIN)/python -m calibration.run_search

calibrate-books: $(READY) ## The same for books, over a universe (goes on where it was stopped)
	@$(BIN)/python -m calibration.run_books

calibrate-evidence: $(READY) ## How often ratios, e-processes and expected ratios err (a quarter of an hour)
	@$(BIN)/python -m calibration.run_sharpe --draws 10000
	@$(BIN)/python -m calibration.run_e_process --seed 2
	@$(BIN)/python -m calibration.run_expected

calibrate-models: $(READY) ## The same for the models
	@$(BIN)/python -m calibration.run_models --jobs 2

calibrate-universe: $(READY) ## What the planted edges of the sample market's universe pay (ten minutes on two cores)
	@$(BIN)/python -m calibration.run_universe

lock: $(READY) ## Pin every dependency anew
	@$(BIN)/pip-compile --quiet --extra dev --extra postgres --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links \
	  --no-annotate --no-header --output-file requirements.lock pyproject.toml
	@sed -i 's/^\(torch==[0-9.]*\)+.*/\1/' requirements.lock # the version alone: a build's label is not on every index
	@$(BIN)/pip-compile --quiet --extra docs --constraint requirements.lock --strip-extras --allow-unsafe --no-emit-index-url \
	  --no-emit-find-links --no-annotate --no-header --output-file - pyproject.toml | grep -vxFf requirements.lock | grep -v '^torch==' > requirements-docs.lock

clean: ## Remove the virtual environment and caches; the warehouse stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
