# Everything a newcomer needs; `make help` lists it. The tools' own commands are in the README.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# uv from the machine, or one of our own below .tools/: the system's Python stays untouched.
UV := $(shell command -v uv || echo .tools/bin/uv)
PYTHON ?= python3
# Of Dagster's UI.
PORT ?= 3000
# Of the service.
SERVE_PORT ?= 8080
export DAGSTER_DISABLE_TELEMETRY := 1
# The same settings as dg's own commands, which read .env by themselves.
ifneq (,$(wildcard .env))
include .env
export
endif
export UV_PYTHON_DOWNLOADS ?= automatic

# Says once how to call the uv of .tools/ by hand.
UV_BY_HAND := command -v uv >/dev/null || echo 'For the commands that start with "uv run":  export PATH="$$PWD/.tools/bin:$$PATH"'

.PHONY: help setup run test lint lint-sql ui production-local serve query publish-postgres catalogue notebook contract matrix bench score-eval spark clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 25
	@$(UV_BY_HAND)

.tools/bin/uv:
	@echo "installing uv into .tools/ (it was not found on this machine)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed: install it, or name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv .tools 2>/dev/null || { echo "error: $(PYTHON) cannot make a virtual environment. Install uv, or your system's package python3-venv" >&2; rm -rf .tools; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv

# Without a terminal, uv would print a line for each of 190 packages in place of its progress bar.
setup: $(filter .tools/bin/uv,$(UV)) ## install what uv.lock says, into .venv
	@# Compiled once: where Python may not write bytecode, each start would compile 1,300 modules anew (1.5 s a process).
	@[ -d .venv ] || { echo "installing the packages of uv.lock into .venv/: about 900 MB on disk, a minute or two" && \
		$(UV) sync $$([ -t 2 ] || echo --quiet) --locked --group sample --compile-bytecode && $(UV_BY_HAND); }
	@$(UV) sync --quiet --locked --group sample

run: setup ## everything from nothing: land, load, model, check, publish
	@$(UV) run --no-sync python -m orchestration nightly $(if $(VERBOSE),--verbose) $(if $(FULL_REFRESH),--full-refresh)

test: setup ## the tests
	@$(UV) run --no-sync pytest

lint: setup ## style and types of Python and SQL
	@$(UV) run --no-sync ruff check .
	@$(UV) run --no-sync ruff format --check .
	@$(UV) run --no-sync mypy
	@$(UV) run --no-sync lint-imports
	@$(MAKE) --no-print-directory lint-sql

# sqlfluff compiles the models, for which dbt opens a warehouse: an empty one of its own.
lint-sql:
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
		NEXT_AISLE_DATA="$$folder" $(UV) run --no-sync sqlfluff lint dbt_project/models

# Where the port is taken, Dagster would take any other without a word, and the address below be another clone's.
ui: setup ## Dagster's UI: assets, checks, schedule and lineage, on http://localhost:3000 (another port: make ui PORT=3001)
	@if (exec 3<>/dev/tcp/127.0.0.1/$(PORT)) 2>/dev/null; then \
		echo "error: port $(PORT) is in use (maybe by another make ui). Choose another: make ui PORT=$$(($(PORT) + 1))" >&2; exit 1; fi
	@echo "Dagster's UI: http://localhost:$(PORT) (stop it with Ctrl+C)"
	@$(UV) run --no-sync python -m orchestration schedule
	@exec $(UV) run --no-sync python -m orchestration ui --port $(PORT)

production-local: setup ## the production set in the foreground: PostgreSQL, nginx with passwords, all services
	@exec deployment/production-local.sh

serve: setup ## answer over HTTP: REST, agents, pages, on http://localhost:8080 (another port: make serve SERVE_PORT=8081)
	@$(UV) run --no-sync python -m delivery serve --port $(SERVE_PORT)

# Typed at a terminal, a statement that failed is no error of make.
query: setup ## ask the published copy in SQL, in DuckDB's shell
	@$(UV) run --no-sync python -m delivery query || [ -t 0 ]

catalogue: setup ## the catalogue as one page next to the published file: tables, columns, tests, lineage
	@$(UV) run --no-sync python -m delivery catalogue

publish-postgres: setup ## write the published tables to PostgreSQL, for BI tools (NEXT_AISLE_POSTGRES_URL)
	@$(UV) run --no-sync python -m delivery publish-postgres

# pandas and numpy must not be where runs are: an environment of its own.
notebook: setup ## a worked notebook on the published file, on http://localhost:2718
	@UV_PROJECT_ENVIRONMENT=.tools/notebook $(UV) run --quiet --locked --group notebook marimo run docs/notebook.py

# datacontract-cli brings pandas and numpy, which a run must not have: an environment of its own.
contract: setup ## write the data contract; refuses what would break its readers without a new version
	@UV_PROJECT_ENVIRONMENT=.tools/contract $(UV) run --quiet --locked --group contract python -m delivery contract

matrix: setup ## write docs/doors-matrix.md: what each role sees of each column
	@$(UV) run --no-sync python -m delivery matrix

bench: setup ## speed and memory against plain DuckDB, in one run
	@$(UV) run --no-sync python -m benchmarks.main_job

score-eval: setup ## the cross-sell score of the sample as of 2017-12-03, to judge it
	@$(UV) run --no-sync python -m benchmarks.score_quality --cutoff 2017-12-03 --predictions data/score_eval/predictions.parquet

# Spark is 400 MB and needs Java 17: an environment of its own.
spark: setup ## the regression of the score on Apache Spark, compared with DuckDB
	@UV_PROJECT_ENVIRONMENT=.tools/spark $(UV) run --quiet --locked --group spark pytest tests/dbt/test_spark.py

clean: ## remove data/ and what was built (asks first)
	@read -p "remove data/, with the warehouse, the landed files and the published copy? [y/N] " answer && [ "$$answer" = y ]
	@rm -rf data dbt_project/target dbt_project/logs
