# Everything a person or a machine does with this project. `make help` lists it.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml packaging/requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not there: install Python 3.11 or newer with venv, or say make PYTHON=python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r packaging/requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $(STAMP)

setup: $(STAMP) ## make .venv with everything in it

demo: $(STAMP) ## three real programs, shipped and recounted, within a minute
	@$(BIN)/shipper demo

test: $(STAMP) ## all tests; real servers where Java and Maven are there
	$(BIN)/python -m pytest

check: $(STAMP) ## format, lint, types, import contracts
	$(BIN)/ruff format --check shipper tests
	$(BIN)/ruff check shipper tests
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## bring the code into its form
	$(BIN)/ruff format shipper tests
	$(BIN)/ruff check --fix --quiet shipper tests

docs: $(STAMP) ## write docs/reference/ anew: manual pages and the schema, from the declarations
	$(BIN)/shipper docs --write docs/reference

kubernetes: ## copy pipelines/kubernetes.yaml to where kustomize may read it
	cp pipelines/kubernetes.yaml packaging/kubernetes/pipelines/kubernetes.yaml

SEEDS ?= 10000
FROM ?= 0
sim: $(STAMP) ## random programs of files and faults against the file source: SEEDS=10000 FROM=0
	$(BIN)/python -m tests.source.sim --seeds $(SEEDS) --from $(FROM)

quality: $(STAMP) ## precision and recall of the redaction on tests/corpus; SHIPPER_PUBLIC_LOGS=DIR: and on its *.log
	$(BIN)/python -m tests.corpus.quality

bench: $(STAMP) ## speed and memory against the yardstick, frames, text formats, and idle files
	$(BIN)/python -m tests.bench.bench
	$(BIN)/python -m tests.bench.frames
	$(BIN)/python -m tests.bench.formats
	$(BIN)/python -m tests.bench.chains
	$(BIN)/python -m tests.bench.whole
	$(BIN)/python -m tests.bench.stages
	$(BIN)/python -m tests.bench.ablation
	$(BIN)/python -m tests.bench.idle

lock: ## write packaging/requirements.lock anew from what pyproject.toml allows
	$(PYTHON) -m venv .lock && .lock/bin/pip install --quiet -e '.[dev]' && .lock/bin/pip freeze --exclude-editable > packaging/requirements.lock && rm -rf .lock

clean: ## remove what was made here
	rm -rf $(VENV) demo .bench build *.egg-info

.PHONY: help setup demo test check format docs kubernetes sim quality bench lock clean
