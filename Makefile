# Everything here works with make and Python 3.11+ alone; `make help` says what there is.

VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
.DEFAULT_GOAL := help
.PHONY: help venv demo test lint check bench answers licences house format clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(INSTALLED) ## Make the virtual environment .venv with the package and what its tests need

demo: $(INSTALLED) ## Run the demo workflow and show its results
	@$(VENV)/bin/gaia-local demo

test: $(INSTALLED) ## Run the whole test suite (ARGS="-k name" for a part of it)
	@$(PY) -m pytest $(ARGS)

lint: $(INSTALLED) ## Check format, style and types
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy

check: lint test ## Check format, style and types, then run the tests

bench: $(INSTALLED) ## Measure beside bare references and other programs (ARGS="--only steps,chain --rounds 3"; not part of the tests)
	@PYTHONPATH=tests $(PY) -m benchmarks.run --save build/bench $(ARGS)

answers: $(INSTALLED) ## List the keys of all answers in resources/docs/answers.md
	@page=$$(PYTHONPATH=tests $(PY) -m answers_page) && printf '%s\n' "$$page" > resources/docs/answers.md

licences: $(INSTALLED) ## List the licences of all dependencies in resources/docs/licences.md
	@page=$$(PYTHONPATH=tests $(PY) -m licences) && printf '%s\n' "$$page" > resources/docs/licences.md

house: $(INSTALLED) ## Draw the imports between wings, and list the wings, in resources/docs/house.md
	@PYTHONPATH=tests $(PY) -m house

format: $(INSTALLED) ## Format the code and fix what can be fixed by itself
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

clean: ## Remove the virtual environment and all caches (never gaia-data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find gaia_local tests -name __pycache__ -prune -exec rm -rf {} +

# Made anew when pyproject.toml changes: what is installed is then always what is declared.
$(INSTALLED): pyproject.toml
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
	echo "Making $(VENV) with $$("$$python" --version); this takes a minute the first time."; \
	rm -rf $(VENV) && "$$python" -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@
