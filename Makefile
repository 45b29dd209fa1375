# Needs make and Python 3.11, 3.12 or 3.13; everything else is installed into .venv from requirements.lock.

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
SCHEDULES ?= 100000
FAULTS ?= 300
TRANSPORT ?= log
SEED   ?= 1

BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test kafka test-kafka soak chaos check bench bench-compare peers compare lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv from the lock file (the other targets do it when needed)

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found; name an interpreter: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "PrivML needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; install its venv package (Debian: python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock || { \
	  echo "The locked dependencies could not be installed: pip needs a package index, a mirror or PIP_FIND_LINKS=<folder of wheels>" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## Run all roles on this machine, from one CSV file (ARGS="--profile toy --insecure")
	$(BIN)/privml demo $(ARGS)

test: $(STAMP) ## Run the tests (ARGS="-m 'not slow'" for the quick ones)
	$(BIN)/python -m pytest -n 2 $(ARGS)

kafka: ## Copy the Kafka broker of the tests into build/kafka (needs Java 17 and Maven)
	@$(PYTHON) tests/kafka/jars.py build/kafka/libs

# PRIVML_TEST_KAFKA=host:port tests on a broker that runs already. Without Java or Maven, but with a
# container engine, that is the broker of docker-compose.kafka.yml.
KAFKA_TESTS := $(BIN)/python -m pytest -m kafka -rs -n 2 --dist loadfile
COMPOSE     := docker compose -p privml-tests -f docker-compose.kafka.yml
test-kafka: $(STAMP) ## Run the tests on a Kafka broker (PRIVML_SKIP_KAFKA=1 only lists them)
	@if [ "$$PRIVML_SKIP_KAFKA" = 1 ]; then \
	  echo "!!! PRIVML_SKIP_KAFKA=1: NOTHING WAS RUN ON A KAFKA BROKER. These tests were left out:" >&2; \
	  $(BIN)/python -m pytest -m kafka --collect-only -q $(ARGS) >&2; \
	elif [ -n "$$PRIVML_TEST_KAFKA" ] || $(MAKE) --no-print-directory kafka; then \
	  $(KAFKA_TESTS) $(ARGS); \
	elif docker info >/dev/null 2>&1; then \
	  echo "A container is the broker now; the tests that stop or configure theirs are left out." >&2; \
	  trap '$(COMPOSE) down --volumes' EXIT; \
	  $(COMPOSE) up --detach --wait kafka && PRIVML_TEST_KAFKA=localhost:9092 $(KAFKA_TESTS) $(ARGS); \
	else exit 1; fi

soak: $(STAMP) ## Run very many schedules of faults in the simulation (SCHEDULES=100000 SEED=1)
	PRIVML_SCHEDULES=$(SCHEDULES) PRIVML_SEED=$(SEED) $(BIN)/python -m pytest -n 2 --timeout 0 -q tests/simulation/test_schedules.py

chaos: $(STAMP) ## Deal blows to real processes, drawn from a seed (FAULTS=300 SEED=1 TRANSPORT=log, or kafka)
	$(if $(filter kafka,$(TRANSPORT)),@$(MAKE) --no-print-directory kafka)
	PYTHONPATH=tests $(BIN)/python -m $(if $(filter kafka,$(TRANSPORT)),kafka,integration).chaos $(FAULTS) $(SEED)

check: $(STAMP) ## Lint, formatting, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

bench: $(STAMP) ## Run the benchmarks
	$(BIN)/python -m benchmarks $(ARGS)

# FRESH=FILE compares a run that was made before, with `make bench ARGS="--json FILE"`.
FRESH ?=

bench-compare: $(STAMP) ## Run the benchmarks and compare them with docs/benchmarks.json (ARGS="--tolerance 0.5")
	@mkdir -p build
	$(if $(FRESH),,$(BIN)/python -m benchmarks --json build/bench.json > /dev/null)
	$(BIN)/python -m benchmarks.compare_runs $(or $(FRESH),build/bench.json) $(ARGS)

peers: $(STAMP) ## Install what PrivML is compared with into build/peers
	$(BIN)/python -m benchmarks.compare.installed

compare: $(STAMP) ## Compare PrivML with published protocols and installed peers (ARGS="--quick")
	$(BIN)/python -m benchmarks.compare $(ARGS)

# Paths, indexes and headers stay out of the file, so that it is the same on every machine.
lock: $(STAMP) ## Resolve the dependencies anew into requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.lock

clean: ## Remove .venv, caches and build results
	rm -rf $(VENV) .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
