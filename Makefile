# Everything a person needs: `make search` and `make test` do their own set-up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
INSTALL_INPUTS := pyproject.toml constraints.txt
SEARCH_ARGS ?= --target-latency 8.8ms

# Nothing of ours calls home: neither do the tools we start.
export RAY_USAGE_STATS_ENABLED := 0
export STREAMLIT_BROWSER_GATHER_USAGE_STATS := false

.DEFAULT_GOAL := help
.PHONY: help setup search test lint format dashboard browser clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is too old; Python 3.11 or newer is needed (make PYTHON=python3.11 ...)"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "error: no venv module; on Debian: apt-get install python3-venv"; exit 2; }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade pip
	@touch $@

$(VENV)/.installed: $(VENV)/.made $(INSTALL_INPUTS)
	@echo "installing pinned dependencies into $(VENV) (about 2.7 GB, a minute or two) ..."
	@$(PIP) torch
	@$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing test and lint tools ..."
	@$(PIP) -e '.[dev]'
	@touch $@

setup: $(VENV)/.installed ## make .venv and install pinned dependencies

search: $(VENV)/.installed ## search with the defaults; SEARCH_ARGS="--target-latency 5ms --data DIR" to change them
	@$(BIN)/python -m search.run $(SEARCH_ARGS)

browser: ## install Chromium for the browser tests where that is possible
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing Chromium for the browser tests ..."; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	  else echo "note: no Chromium found: browser tests will be skipped (install the chromium package)"; fi; }

test: $(VENV)/.installed-dev browser ## run all tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev ## ruff, mypy and the contracts between packages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --config pyproject.toml

format: $(VENV)/.installed-dev ## let ruff mend what it can
	@$(BIN)/ruff check --fix-only . ; $(BIN)/ruff format .

dashboard: $(VENV)/.installed ## open the dashboard on the default database
	@$(BIN)/python -m dashboard $(DASHBOARD_ARGS)

clean: ## remove caches (keeps .venv and runs/)
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build *.egg-info
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
