# Every target first installs what this machine lacks; a second run finds nothing to do.
VENV_PYTHON := .venv/bin/python
PORT ?= 7071
export PORT

.PHONY: help setup run test faults chaos bench-tick bench-engine check serve clean

help:
	@echo "make run    starts everything, runs the example job with visible progress, and stops"
	@echo "make serve  serves the scheduler on PORT (7071) until Ctrl-C; data stay in .local/"
	@echo "make test   runs all checks and the whole test suite"
	@echo "make faults breaks storage at every single request, not at a sample; takes hours"
	@echo "make chaos  kills hosts and storage under load, and draws a balance sheet; MINUTES=3 SEED=7"
	@echo "make bench-tick  measures what the tick costs; writes OUT (.local/bench-tick.json)"
	@echo "make bench-engine  measures executions, and four hosts together; OUT, EXECUTIONS=1000, QUICK=1"
	@echo "make check  runs the checks alone: lint, format, types, import rules"
	@echo "make setup  installs what is missing, and nothing else"
	@echo "make clean  removes all that was made here, the data in .local/ too"

setup:
	@sh tools/setup/setup.sh

run: setup
	@PYTHONPATH=. $(VENV_PYTHON) examples/office-calendar/run.py

serve: setup
	@$(VENV_PYTHON) -m tools.serve --stop-with-parent

check: setup
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy
	.venv/bin/lint-imports

test: check
	@sh tools/setup/setup.sh tests
	$(VENV_PYTHON) -m pytest -n 3 --dist worksteal

faults: setup
	@sh tools/setup/setup.sh tests
	FAULTS=all $(VENV_PYTHON) -m pytest -n 3 --dist worksteal -m faults

chaos: setup
	@sh tools/setup/setup.sh tests
	@$(VENV_PYTHON) -m chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
		$(if $(OUT),--out $(OUT))

bench-engine: setup
	@$(VENV_PYTHON) -m benchmarks.engine $(if $(OUT),--out $(OUT))

bench-tick: setup
	@$(VENV_PYTHON) -m benchmarks.tick $(if $(OUT),--out $(OUT))

clean:
	@if [ -x $(VENV_PYTHON) ]; then $(VENV_PYTHON) -m tools.lock; fi
	rm -rf .venv .local node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
