# `make demo` and `make test` are each enough on a fresh machine with Python 3.11 to 3.13 and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Recipes find the environment's tools first, as an activated shell would.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo study test test-project test-core test-tools test-service test-e2e test-slow lint format lock stack clean

help: ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready ## make .venv from the locked requirements

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), f"Python 3.11 to 3.13 is needed, this is {sys.version}: make PYTHON=python3.11 ..."'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: setup ## the whole pipeline on the simulated default: leaderboard, explanations, a champion or why there is none
	dvc repro
	$(PROMOTE)
	@$(LOOK)

study: setup ## all twelve experiments of the study, laptop scale: puts profiles/study.yaml into params.yaml, where it stays until another profile is put there
	galmorph profile profiles/study.yaml
	dvc repro
	$(PROMOTE)
	@$(LOOK)

# 3: the gate said no, for the reasons that it printed. Nothing went wrong then.
PROMOTE = galmorph promote || test $$? -eq 3

define LOOK
cat evaluation/leaderboard.md
echo
echo "the leaderboard              evaluation/leaderboard.html"
echo "what the best model looks at explanations/"
echo "the data, and what was found reports/validation/index.html"
echo "runs and registered models   . .venv/bin/activate && mlflow ui"
endef
# One line of shell from the block above.
define NEWLINE


endef
LOOK := $(subst $(NEWLINE), && ,$(LOOK))

test: setup ## every kind of test, at most 20 minutes on 2 cores
	$(MAKE) --jobs=2 --keep-going test-project test-core test-tools test-service test-e2e

# Two at a time, the longest first; none waits for what another one makes.
test-project: setup # those that look at a project whose pipeline has run,
	pytest -m 'not slow and project' tests/pipeline

test-core: setup # those of the pure parts,
	pytest -m 'not slow' tests/unit tests/contract

test-service: setup # those that ask a model what it answers,
	pytest -m 'not slow and service' tests/pipeline

test-e2e: setup # the whole way,
	pytest -m 'not slow' tests/e2e

test-tools: setup # and the other ones of the real tools
	pytest -m 'not slow and not project and not service' tests/pipeline

test-slow: setup ## the long ones: kill matrices, scale
	pytest -m slow

lint: setup ## ruff and mypy
	ruff format --check .
	ruff check .
	mypy

format: setup ## put the code into shape
	ruff format .
	ruff check --fix .

# Universal locks: one file serves every Python and platform we name. Hashes, and no package host.
LOCK = uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--quiet --custom-compile-command 'make lock'
lock: setup ## resolve the requirements again
	$(LOCK) pyproject.toml --extra pipeline --output-file requirements/pipeline.txt $(UPGRADE)
	$(LOCK) pyproject.toml --extra gpu --constraint requirements/pipeline.txt --output-file requirements/gpu.txt $(UPGRADE)
	$(LOCK) pyproject.toml --extra serve --constraint requirements/pipeline.txt --output-file requirements/serve.txt $(UPGRADE)
	$(LOCK) pyproject.toml --extra dev --constraint requirements/pipeline.txt --constraint requirements/serve.txt --output-file requirements/dev.txt $(UPGRADE)
	$(LOCK) --group mlflow --constraint requirements/pipeline.txt --output-file requirements/mlflow.txt $(UPGRADE)
	$(LOCK) --group build --constraint requirements/dev.txt --output-file requirements/build.txt $(UPGRADE)

stack: ## PostgreSQL, S3, MLflow, the service, Prometheus and Grafana on this machine, by Docker (docs/images.md)
	infra/make_secrets.sh
	docker compose --file infra/compose.yaml up --build --detach

clean: ## remove what the pipeline made, not DVC's cache nor the fetched cutouts
	rm -rf data/raw data/variants data/*.parquet models evaluation robustness explanations reports registration.json
