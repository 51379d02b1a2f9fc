PYTHON ?= python3.11
BIN := .venv/bin

# A worker a processor, a file to a worker; tests/conftest.py puts the slow files first.
PARALLEL := -n logical --dist loadfile --no-loadscope-reorder

.PHONY: demo test check lint docs clean

demo: .venv/ready
	$(BIN)/python scripts/demo.py --to runs/demo

test: .venv/ready-dev
	$(BIN)/python -m pytest $(PARALLEL)

check: lint
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/ready-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv || python3 -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[learn,export]"
	touch $@

.venv/ready-dev: .venv/ready
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@

clean:
	rm -rf .venv runs build
