# Everything one does with a checkout. Needs make and Python 3.11 to 3.14; `make run PYTHON=/path/to/python` names one.
SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
LOCAL := deployments/local
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.ready-dev
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help run test lint bench bench-detection verify coverage licences soak docs pictures requirements clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "make %-16s%s\n", $$1, $$2 }'

run: $(READY) ## run everything in one process, on http://127.0.0.1:8080 (SENTINEL_PORT, DEMO=0)
	@exec $(PY) manage.py standalone

test: $(DEV_READY) ## start the services that can be had and run the tests (TESTS=tests/ingestion)
	@$(LOCAL)/test -n 2 -m "not verify and not soak" $(TESTS)

lint: $(DEV_READY) ## ruff, mypy, import contracts, migrations, Django's deployment checks
	@$(LOCAL)/lint

bench: $(DEV_READY) ## measure throughput and latency against real services
	@$(LOCAL)/with-services $(PY) -m bench $(BENCH)

bench-detection: $(DEV_READY) ## judge detection by the recordings in SENTINEL_BENCH_DATA (azure_llm/, nab/)
	@$(PY) -m bench.llm
	@$(PY) -m bench.nab

verify: $(DEV_READY) ## the tests that take longer than `make test` may
	@$(LOCAL)/test -m verify --timeout 3600 $(TESTS)

coverage: $(DEV_READY) ## the suite under coverage: 90 % of the pure packages, 85 % of everything, with branches
	@$(LOCAL)/coverage $(TESTS)

licences: $(DEV_READY) ## whether what goes into the image may be used with Apache-2.0
	@$(LOCAL)/licences

soak: $(DEV_READY) ## the tests that run for hours; they print what they counted as JSON
	@$(LOCAL)/test -m soak -s --timeout 0 $(TESTS)

docs: $(DEV_READY) ## build the documentation strictly, and the description of the HTTP API, in var/docs
	@$(LOCAL)/docs var/docs

pictures: $(DEV_READY) ## picture a running `make run` for the documentation (URL=, PASSWORD=)
	@$(PY) docs/images/make $(or $(URL),http://127.0.0.1:8080) $(PASSWORD)

requirements: $(DEV_READY) ## resolve requirements*.in anew, with hashes, for every platform
	@for name in requirements requirements-dev; do \
	  $(PY) -m uv pip compile --universal --generate-hashes --python-version 3.11 --no-emit-index-url --quiet \
	    $(UPGRADE) $$name.in -o $$name.txt || exit 1; done

clean: ## remove the environment and what tools left behind; data under var/ stays
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -path ./var -prune -o -type d -name __pycache__ -exec rm -rf {} +

$(READY): requirements.txt requirements-dev.txt $(LOCAL)/environment
	@$(LOCAL)/environment $(VENV) requirements.txt
	@touch $@

$(DEV_READY): requirements-dev.txt $(LOCAL)/environment
	@$(LOCAL)/environment $(VENV) requirements-dev.txt
	@touch $@ $(READY)
