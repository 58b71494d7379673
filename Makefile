# Bare `make` lists the targets. Each target sets up what it needs in .venv, again only when
# pyproject.toml or constraints.txt change.

PYTHON ?= python3
PY := .venv/bin/python
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check bench

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "recloom needs Python 3.11 or later; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet -c constraints.txt torch
	$(PY) -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

setup: $(READY)  ## install everything into .venv, with the versions of constraints.txt

demo: $(READY)  ## MovieLens-100K: log, trained model, leaderboard, recommendations by title (under 3 minutes)
	$(PY) examples/demo.py

test: $(READY)  ## the tests (a few minutes); those on real data need RECLOOM_DATA=FOLDER
	$(PY) -m pytest -n 2

test-slow: $(READY)  ## the long tests
	$(PY) -m pytest -m slow

check: $(READY)  ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: $(READY)  ## speed beside plain PyTorch on RECLOOM_DATA/beauty; writes results/benchmarks/ (a quiet machine, 15 min)
	@test -d "$(RECLOOM_DATA)/beauty" || { echo "set RECLOOM_DATA to the folder that holds beauty/" >&2; exit 2; }
	for name in training pretraining contrastive intents multi_instance evaluation serving; do \
		$(PY) benchmarks/$$name.py "$(RECLOOM_DATA)/beauty" -o results/benchmarks/$$name.json || exit 1; done
	$(PY) benchmarks/preparing.py -o results/benchmarks/preparing.json
