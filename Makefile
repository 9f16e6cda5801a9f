# make help
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PLAY = $(BIN)/ansible-playbook -i inventories/local

.PHONY: bench bench-migrations bench-switches molecule fleet-up fleet-down help setup demo demo-down status test test-unit test-playbooks test-thorough test-fleet test-systemd test-prod test-newest chaos lint format clean

help: ## Show what can be made
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.run ## Make the virtual environment that everything runs in (.venv)

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else f"Found: Python {v[0]}.{v[1]}. Expected: 3.11 or newer. To do: make PYTHON=/path/to/python3.11")'
	@echo "== Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.python requirements.txt
	@echo "== Installing what running needs (about 100 MB, once)"
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.test: $(VENV)/.run tests/requirements.txt
	@echo "== Installing what tests need (once)"
	@$(PIP) -r tests/requirements.txt
	@touch $@

$(VENV)/.lint: $(VENV)/.test tests/requirements-lint.txt
	@echo "== Installing the linters (once)"
	@$(PIP) -r tests/requirements-lint.txt
	@touch $@

.cache/wheels: $(VENV)/.run examples/shop/v1.0.0/requirements.lock
	@echo "== Downloading what the example shop depends on (about 15 MB, once)"
	@rm -rf $@
	@$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest $@ -r examples/shop/v1.0.0/requirements.lock
	@touch $@

demo: $(VENV)/.run .cache/wheels ## Release the example shop for real, under traffic (3 to 5 minutes; no root, no Docker)
	@$(BIN)/python -m examples.demo

demo-down: $(VENV)/.run ## Stop what the demo left running, and remove its data
	@$(PLAY) playbooks/embedded_down.yml -e embedded_wipe=true

status: $(VENV)/.run ## Show what is live in the embedded environment
	@$(PLAY) playbooks/status.yml

test: ## Run the tests: each part, also when one of them fails
	@$(MAKE) --no-print-directory --keep-going test-unit test-playbooks test-fleet test-newest

test-unit: $(VENV)/.test ## Run the tests of the parts
	@echo "== Tests of the parts"
	@$(BIN)/python -m pytest tests/unit tests/balancers -n 3 --dist worksteal -q --durations=15

# In one run, so that neither of the two cores waits for the other.
test-playbooks: $(VENV)/.test ## Run the playbooks: as they are, killed and many at once, and installed from the tarball
	@echo "== Tests of the playbooks, on embedded environments of their own"
	@$(BIN)/python -m pytest tests/chaos tests/install tests/e2e -n 2 --dist worksteal -q --durations=15 -m "not thorough"

test-thorough: $(VENV)/.test ## Run what takes long and goes another way through what test-playbooks and test-prod go through
	@$(BIN)/python -m pytest tests/chaos tests/e2e -n 2 --dist worksteal -q --durations=15 -m thorough; ended=$$?; \
	$(BIN)/python -m pytest tests/fleet -q --durations=15 -m thorough || ended=$$?; $(BIN)/python -m tests.fleet idle; exit $$ended

test-fleet: $(VENV)/.test ## Run what needs hosts with systemd and sshd, as containers (installs an engine as root on Debian)
	@echo "== Tests on two fleets of hosts with systemd, side by side; they are gone afterwards"
	@$(MAKE) --no-print-directory --keep-going --jobs=2 test-systemd test-prod; ended=$$?; $(BIN)/python -m tests.fleet idle; exit $$ended

test-systemd: $(VENV)/.test ## Run what is about one host: slots under systemd and as containers, and roles alone
	@$(BIN)/python -m pytest tests/systemd tests/containers -q --durations=5

test-prod: $(VENV)/.test ## Run inventories/prod on a fleet
	@$(BIN)/python -m pytest tests/fleet -q --durations=5 -m "not thorough"

RELEASES = test_a_release_moves_traffic_without_losing_a_request test_a_version_that_fails_under_traffic_is_sent_back_by_the_watch test_a_hot_rollback_needs_only_the_load_balancer
test-newest: $(VENV)/.test ## Run a part of the tests with the other Python and ansible-core that are supported
	@echo "== The other end of what is supported"
	@$(BIN)/python -m tests.interpreters $(addprefix tests/e2e/test_release.py::,$(RELEASES)) tests/unit/plugins -n 2 --dist worksteal -q -m "not slow" --ignore-glob='*/test_db_migrate_*.py'

chaos: $(VENV)/.test ## Strike at every task of every procedure, in every way, and write docs/chaos.md (hours; goes on where it ended)
	@$(BIN)/python -m tests.chaos $(or $(CHAOS),--all) --report docs/chaos.md

bench: $(VENV)/.test ## Measure releases on fleets of 1, 3, 10 and 40 hosts, and write docs/bench.md (half an hour; as make fleet-up)
	@$(BIN)/python -m tests.bench $(BENCH) --report docs/bench.md

bench-migrations: $(VENV)/.test ## Measure migrations and rehearsals against the bare tools, and write docs/bench_migrations.md (5 minutes)
	@$(BIN)/python -m tests.bench.migrations $(BENCH) --report docs/bench_migrations.md

bench-switches: $(VENV)/.test ## Measure switches and reloads under 600 requests a second, and write docs/bench_switches.md (5 minutes; haproxy and nginx installed)
	@$(BIN)/python -m tests.bench.switches $(BENCH) --report docs/bench_switches.md

molecule: $(VENV)/.test ## Test the roles for hosts each alone, with molecule on a fleet of its own
	@$(BIN)/python -m pytest tests/systemd/test_molecule.py -q; ended=$$?; $(BIN)/python -m tests.fleet idle; exit $$ended

fleet-up: $(VENV)/.test ## Start a fleet for tests: hosts with systemd and sshd, as containers (installs an engine as root on Debian)
	@$(BIN)/python -m tests.fleet up

fleet-down: $(VENV)/.test ## End the fleet, and the engine if it was started for it
	@$(BIN)/python -m tests.fleet down --engine

lint: $(VENV)/.lint ## Run all linters
	@tests/lint.sh

format: $(VENV)/.test ## Format the Python files
	@$(BIN)/ruff format plugins tests examples
	@$(BIN)/ruff check --fix plugins tests examples

clean: ## Remove the virtual environment and all caches (the embedded environment must be down)
	@rm -rf $(VENV) .ansible .cache .mypy_cache .pytest_cache .ruff_cache collections
