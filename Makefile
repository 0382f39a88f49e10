SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
PYTHON := .venv/bin/python
PATH := $(CURDIR)/.venv/bin:$(PATH)
export PATH
DEMO_JSON ?=
BENCH_JSON ?=

.DEFAULT_GOAL := help
.PHONY: help setup check lint drift unit test demo chaos lab bench bench-handoff generate constraints clean

help: ## Show this.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 14

setup: ## Install what virtnet needs: Debian packages, .venv, kube-apiserver, kubectl. Repeatable.
	@.ci/setup

check: setup ## All checks that take about a minute together: style, types, layers, generated files, unit tests.
	@$(MAKE) -j2 --output-sync=target lint drift unit

lint: setup
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports --no-logo 2>/dev/null || lint-imports

drift: setup
	@work=$$(mktemp -d) && trap 'rm -rf "$$work"' EXIT; \
	mkdir -p "$$work"/crds "$$work"/manifests/{webhook,rbac}; \
	$(PYTHON) -m virtnet.features "$$work/crds" && $(PYTHON) -m webhooks.manifests "$$work/manifests"; \
	cd "$$work" && for file in $$(find . -name '*.yaml'); do \
		diff -u "$(CURDIR)/$$file" "$$file" || { echo "$$file is out of date: run 'make generate'"; exit 1; }; \
	done

unit: setup
	@$(PYTHON) -m pytest -q -m "not system and not lab"

test: setup ## Every test, with real daemons and virtual machines. Needs root.
	@$(PYTHON) -m pytest

demo: setup ## Watch VMs keep their addresses over a live migration. Needs root; writes $DEMO_JSON.
	@DEMO_JSON="$(DEMO_JSON)" $(PYTHON) -m virtnet.lab.demo

chaos: setup ## Random faults in a lab, and what must hold after them. SEED=... FAULTS=1000 BATCH=10 SECONDS=3600. Needs root.
	@$(PYTHON) -m virtnet.lab.chaos $(if $(SEED),--seed $(SEED)) --faults $(or $(FAULTS),1000) --batch $(or $(BATCH),10) --seconds $(or $(SECONDS),3600)

lab: setup ## Leave a lab up to play with. Needs root.
	@virtnet lab up

bench: setup ## Measure the control plane and CNI, in about fifteen minutes. Needs root; writes $BENCH_JSON.
	@for part in northbound controller scale admission cni nics vhostuser; do BENCH_JSON="$(BENCH_JSON)" $(PYTHON) tests/bench/$$part.py; done

bench-handoff: setup ## Measure what migrations cost, in about twenty minutes. Needs root; writes $BENCH_JSON; $BENCH_ROUNDS of each network.
	@BENCH_JSON="$(BENCH_JSON)" $(PYTHON) -m tests.bench.handoff

generate: setup ## Write the generated manifests anew.
	@$(PYTHON) -m virtnet.features crds
	@$(PYTHON) -m webhooks.manifests manifests

constraints: ## Pin the newest versions of all Python packages that pyproject.toml allows.
	@work=$$(mktemp -d) && trap 'rm -rf "$$work"' EXIT; \
	/usr/bin/python3 -m venv "$$work" && "$$work/bin/pip" install -q -e '.[dev]' && \
	"$$work/bin/pip" freeze --exclude-editable >.ci/constraints.txt

clean: ## Take the lab down, and remove what was made here. The cache of kube-apiserver and kernel stays.
	@[ ! -x .venv/bin/virtnet ] || [ ! -e /run/virtnet-lab/lab ] || virtnet lab down
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
