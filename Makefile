# Everything starts from `make install`; the other targets call it and it is quick when nothing
# changed. PYTHON names the interpreter that makes the virtual environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.install-stamp
TORCH := torch==2.13.0

export OMP_NUM_THREADS ?= 1
export MPLBACKEND ?= Agg

.DEFAULT_GOAL := help
.PHONY: help install discover serve test slow chaos lint format bench docs clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## make .venv with everything the rest needs

$(STAMP): pyproject.toml constraints.txt
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV) || { \
	  echo "python3-venv is missing: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing (a few minutes the first time) ..."
	@$(BIN)/python -m pip install -q --upgrade pip
	@$(BIN)/python -m pip install -q '$(TORCH)'
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,docs]'
	@touch $(STAMP)

discover: install  ## run the example campaign: hard coatings from 28 metals and 4 light elements
	@$(BIN)/nanoos discover examples/hard_coatings.yaml

serve: install  ## web page and API on http://127.0.0.1:8000
	@$(BIN)/nanoos serve

test: install  ## the tests (PostgreSQL and Redis included, nothing to set up)
	@$(BIN)/python -m pytest -q -n auto --dist loadfile

slow: install  ## the slow checks: physics, long chaos runs
	@$(BIN)/python -m pytest -q -m slow --timeout 3600

chaos: install  ## kill -9 everything at random moments, on SQLite and on PostgreSQL with Redis
	@$(BIN)/python benchmarks/chaos.py --trials 50 --database sqlite
	@$(BIN)/python benchmarks/chaos.py --trials 50 --database postgresql

lint: install  ## style, types, the import contract, spelling
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/codespell src tests docs examples benchmarks *.md

format: install  ## format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: install  ## every figure of docs/benchmarks.md
	@$(BIN)/python benchmarks/run_all.py

docs: install  ## the documentation, in site/
	@$(BIN)/mkdocs build --strict

clean:  ## remove everything that was made
	rm -rf $(VENV) site dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
