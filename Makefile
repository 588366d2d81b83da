# `make book` and `make test` need Python 3.11 or newer, git and make; everything else they set up.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
# Whatever -j says, one target waits for another, for `agreement` compares what `nbval` ran; JOBS is for what they run.
.NOTPARALLEL:

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
SCALE   ?= mini
JOBS    ?= 2
WORKERS ?= 1
# A chapter computes with the threads that its parameter names; libraries start no more of their own.
export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1
export PYTHONHASHSEED ?= 0

.PHONY: help setup book test lint unit pairing nbval agreement verify run results models notebooks bench faults lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with the exact versions of requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x .uv/bin/uv || { $(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet --disable-pip-version-check uv; }
	@test -x $(BIN)/python || .uv/bin/uv venv --quiet --python "$$(command -v $(PYTHON))" $(VENV)
	@echo "installing the versions of requirements.lock into $(VENV) ..."
	@.uv/bin/uv pip sync --quiet --compile-bytecode --python $(BIN)/python requirements.lock
	@.uv/bin/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m ipykernel install --sys-prefix --env PYTHONSAFEPATH 1 >/dev/null 2>&1  # imports nothing that lies beside a notebook
	@touch $@

book: $(READY) ## run the chapters that changed and build the book into _build/html
	@$(BIN)/python -m synthbook.press book --jobs $(JOBS)

notebooks: $(READY) ## write notebooks/*.ipynb anew from their .py sources, executed at scale mini
	@$(BIN)/python -m synthbook.press notebooks --jobs $(JOBS)

test: lint unit pairing nbval agreement ## lint, unit tests, and the notebooks against their stored claims and the recorded rows

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

unit: $(READY)
	@$(BIN)/pytest -q -n $(JOBS)

pairing: $(READY)
	@$(BIN)/python -m synthbook.press pairing

nbval: $(READY)
	@PYTHONSAFEPATH=1 $(BIN)/pytest -q -n $(JOBS) --dist loadscope --nbval-lax --nbval-current-env --nbval-cell-timeout 600 \
	  -W default -p no:cacheprovider notebooks

agreement: $(READY)
	@$(BIN)/python -m synthbook.press agreement

verify: $(READY) ## rerun one recorded cell a chapter and compare: make verify [CHAPTER=12_not_mutual] [DRY=1]
	@$(BIN)/synthbook verify $(CHAPTER) --scale $(SCALE) $(if $(DRY),--dry-run)

run: $(READY) ## run one chapter: make run CHAPTER=12_not_mutual SCALE=small ARGS="-p seeds=5 -p data_root=data"
	@$(BIN)/synthbook run $(CHAPTER) --scale $(SCALE) $(ARGS)

results: $(READY) ## make a chapter's recorded rows: make results SCALE=mini CHAPTER=12_not_mutual [ONLY=seed-0] [WORKERS=2] [DRY=1]
	@$(BIN)/python -m synthbook.press results --scale $(SCALE) --chapter "$(CHAPTER)" --jobs $(JOBS) --workers $(WORKERS) $(if $(ONLY),--only "$(ONLY)") $(if $(DRY),--dry-run)

models: $(READY) ## train the book's models that are not kept yet: make models [NAME=caltech10-gan] [SEEDS=0,1] [DRY=1]
	@$(BIN)/python -m synthbook.studies.all_models $(NAME) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(DRY),--dry-run)

bench: $(READY) ## measure the speed of the library's own parts, as ratios
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

faults: $(READY) ## kill, fill the disk, change bytes, at length: some minutes; numbers are printed
	@KILLS=$(or $(KILLS),50) $(BIN)/pytest -q -p no:cacheprovider tests/test_faults.py tests/studies/test_broken_cache.py

lock: ## resolve requirements.lock anew from pyproject.toml
	@test -x .uv/bin/uv || { $(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet --disable-pip-version-check uv; }
	@.uv/bin/uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-header \
	  --no-emit-index-url --no-annotate --upgrade pyproject.toml -o requirements.lock

clean: ## remove what was built (not the recorded rows, nor trained models)
	if [ -d _build ]; then find _build -mindepth 1 -maxdepth 1 ! -name models -exec rm -rf {} +; fi
	rm -rf .snakemake .pytest_cache .ruff_cache .hypothesis
