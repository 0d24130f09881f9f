# Everything here works with make and Python 3.11+ alone; `make help` says what there is.

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --no-compile --disable-pip-version-check
PACKAGE := $(VENV)/.package
TESTS := $(VENV)/.tests
PAGE := tests/page/node_modules/.made
LOWEST := build/lowest
.DEFAULT_GOAL := help
.PHONY: help venv demo test lowest lint page check bench soak answers licences house states format clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(TESTS) ## Make the virtual environment .venv with the package and what its tests need

demo: $(PACKAGE) ## Run the demo workflow and show its results
	@$(VENV)/bin/gaia-local demo

test: $(TESTS) $(PAGE) ## Run the whole test suite (ARGS="-k name" for a part of it)
	@$(PY) -m pytest $(ARGS)

lowest: $(PACKAGE) ## Run the demo and a smoke test with the lowest versions that pyproject.toml allows
	@rm -rf $(LOWEST) && $(PY) -m venv $(LOWEST)
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct \
	  --editable '.[pictures,server,dask]'
	@$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST) 'pytest>=8' pytest-timeout
	@GAIA_LOCAL_ROOT=$(LOWEST)/demo $(LOWEST)/bin/gaia-local demo
	@$(LOWEST)/bin/python -m pytest -W default tests/test_smoke.py $(ARGS)

lint: $(TESTS) page ## Check format, style and types
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy

page: $(PAGE) ## Check the status page's modules: style, types, and the tests that need no browser
	@cd tests/page && npm run --silent lint && npm run --silent types && npm run --silent test

check: lint test ## Check format, style and types, then run the tests

bench: $(TESTS) ## Measure beside bare references and other programs (ARGS="--only steps,chain --rounds 3"; not part of the tests)
	@PYTHONPATH=tests $(PY) -m benchmarks.run --save build/bench $(ARGS)

soak: $(TESTS) ## Use a server for an hour, then judge its memory, descriptors and threads (ARGS="--minutes 15")
	@PYTHONPATH=tests $(PY) -m benchmarks.soaking $(ARGS)

answers: $(TESTS) ## List the keys of all answers in resources/docs/answers.md
	@page=$$(PYTHONPATH=tests $(PY) -m answers_page) && printf '%s\n' "$$page" > resources/docs/answers.md

licences: $(TESTS) ## List the licences of all dependencies in resources/docs/licences.md
	@page=$$(PYTHONPATH=tests $(PY) -m licences) && printf '%s\n' "$$page" > resources/docs/licences.md

house: $(TESTS) ## Draw the imports between wings, and list the wings, in resources/docs/house.md
	@PYTHONPATH=tests $(PY) -m house

states: $(TESTS) ## Write the status page's colours and signs of states from pictures/states.py
	@PYTHONPATH=tests $(PY) -m page_states

format: $(TESTS) ## Format the code and fix what can be fixed by itself
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

clean: ## Remove the virtual environment and all caches (never gaia-data)
	rm -rf $(VENV) tests/page/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find gaia_local tests -name __pycache__ -prune -exec rm -rf {} +

# The environment holds the package alone until something needs the rest. It is made anew when
# pyproject.toml changes, so that it always has what is declared; and when it was moved, or its
# Python has another version than before, or than the one named by PYTHON.
HAS := $(shell $(PY) --version 2> /dev/null)
NEEDS := $(if $(PYTHON),$(shell $(PYTHON) --version 2> /dev/null),$(HAS))
ifneq ($(CURDIR) $(HAS) $(HAS),$(shell cat $(PACKAGE) 2> /dev/null) $(NEEDS))
.PHONY: $(PACKAGE)
endif

$(PACKAGE): pyproject.toml
	@python=; for name in $${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do \
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "make: found no Python 3.11 or newer; install one, or name it: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2> /dev/null; then \
	  version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "make: $$python can't make virtual environments: its ensurepip is missing." >&2; \
	  echo "      Debian, Ubuntu: apt-get install python3-venv (or python$$version-venv)" >&2; exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$python" --version); this takes a moment."; \
	rm -rf $(VENV) && "$$python" -m venv $(VENV)
	@$(PIP) --editable .
	@echo "$(CURDIR) $$($(PY) --version)" > $@

$(TESTS): $(PACKAGE)
	@echo "Installing what the tests need; this takes a minute the first time."
	@$(PIP) --editable '.[test]'
	@touch $@

$(PAGE): tests/page/package.json tests/page/package-lock.json
	@command -v npm > /dev/null || { echo "make: there is no npm; Debian, Ubuntu: apt-get install npm" >&2; exit 1; }
	@cd tests/page && npm ci --loglevel error --no-audit --no-fund > /dev/null
	@touch $@
