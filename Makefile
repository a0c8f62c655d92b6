# The two commands, on a fresh Debian machine with Python 3.11, git, make and a C++ compiler:
#   make firmware MODEL=axo_v3     compile, verify and report (build/axo_v3/report.html)
#   make test                      the whole test suite
# Both set up what they need first (a virtual environment in .venv), once.

MODEL ?= axo_v3
BUILD ?= build
EVENTS ?= 100000
RTL_EVENTS ?= 20000
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
STAMP := $(VENV)/.set-up
TEST_STAMP := $(VENV)/.set-up-tests
AXO := $(VENV)/bin/axo
# Recorded words that lie beside the checkout are compared too; none are needed.
RECORDED ?= $(wildcard ../shared/real/ugt/*_data.txt.gz)

.PHONY: help setup firmware latency-report test test-fast lint bench clean

help:
	@sed -n '2,5s/^# \?//p' Makefile
	@echo "Also: setup, latency-report, bench, test-fast, lint, clean.  Variables: MODEL, EVENTS, RTL_EVENTS, RECORDED, BUILD, PYTHON"

setup: $(STAMP)

$(STAMP): setup.cfg pyproject.toml .ci/setup.sh
	@PYTHON="$(PYTHON)" sh .ci/setup.sh $(VENV)
	@touch $@

$(TEST_STAMP): $(STAMP)
	@sh .ci/setup.sh $(VENV) test
	@touch $@

firmware: $(STAMP)
	@$(AXO) firmware $(MODEL) --output $(BUILD) --events $(EVENTS) --rtl-events $(RTL_EVENTS) $(foreach file,$(RECORDED),--recorded $(file)) $(ARGS)

latency-report: firmware
	@$(AXO) report $(BUILD)/$(basename $(notdir $(MODEL)))/report.json --baseline training/models/$(basename $(notdir $(MODEL)))/firmware_baseline.json

test: $(TEST_STAMP) lint
	@$(VENV)/bin/pytest -n 2

test-fast: $(TEST_STAMP)
	@$(VENV)/bin/pytest -n 2 -m "not slow"

lint: $(STAMP)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/python .ci/check_types.py

bench: $(STAMP)
	@$(VENV)/bin/python -m axo.emulator.bench --output $(BUILD)/bench.json

clean:
	rm -rf $(BUILD) .pytest_cache .mypy_cache .ruff_cache .hypothesis
