# Every target makes the virtual environment it needs, so one command is enough on a fresh clone.
VENV ?= .venv
PYTHON ?= python3
BIN := $(abspath $(VENV))/bin

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install demo test lint bench

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.stamp-core  ## install s4speech into .venv

demo: $(VENV)/.stamp-demo  ## make a small corpus, train, decode, score and use a recogniser
	PATH="$(BIN):$$PATH" bash egs/mini/asr/run.sh

# Two processes of one thread: two threads in each would slow both down several times.
test: $(VENV)/.stamp-dev  ## run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.stamp-dev  ## ruff, mypy and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

bench: $(VENV)/.stamp-core  ## time and memory of the sequence layers, side by side
	PYTHONPATH=. $(BIN)/python tools/bench_layers.py

# A stamp is made last, so an interrupted installation is simply done again.
$(VENV)/.stamp-core: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("s4speech needs Python 3.10 to 3.12; try: make PYTHON=python3.11" \
	  if not (3, 10) <= sys.version_info < (3, 13) else 0)'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(VENV)/.stamp-%: $(VENV)/.stamp-core
	$(BIN)/python -m pip install --quiet -e '.[$*]'
	@touch $@
