# Apart from caches, these commands write only under .local/; a Python from 3.10 to 3.13 and make is all they need.
PYTHON ?= python3
AIRFLOW ?= 3.3
NOX := .local/tools/bin/nox
ENVIRONMENT := .local/nox/dev-$(subst .,-,$(AIRFLOW))
BIN := $(ENVIRONMENT)/bin
PROJECTS := pyproject.toml emulator/pyproject.toml noxfile.py

# Containers and CI machines often set it; then every process of Airflow compiles what it imports, at each start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test peers test-matrix test-exhaustive test-hostile test-floors test-next test-faults test-bursts soak distributed environment lint types unit e2e bench bench-transfer constraints reference clean

demo: environment          ## the nightly pipeline on a real Airflow, from nothing; KEEP=1 leaves it up
	@$(BIN)/python -m dev.demo

test:                      ## what CI runs on one Airflow, with the seconds of each step
	@for step in environment lint types unit e2e; do \
	    started=$$(date +%s); $(MAKE) --no-print-directory $$step || exit; \
	    echo "make $$step: $$(($$(date +%s) - started)) s"; \
	done

test-matrix: $(NOX)        ## the built wheels on the other Airflows, and with the oldest dependencies; FULL=1: on every Python
	$(NOX) -s matrix

test-exhaustive: environment   ## everything of a kind where `make unit` takes a covering part
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=20 -m exhaustive

test-hostile: environment  ## hostile servers, one attack at a time: the longest, the most memory, the secrets in any log
	$(BIN)/python -m pytest -q -m hostile

test-floors: $(NOX)        ## the API and its clients, attacks on them too, with the oldest dependencies that pyproject.toml allows
	$(NOX) -s floors

test-next: $(NOX)          ## the built wheels on the next Airflow, before its release
	$(NOX) -s next_airflow

test-faults: environment   ## kills and lost answers at every moment, expected and seen; DATABASE=postgresql: not on SQLite
	@$(BIN)/python -m tests.faults

soak: environment          ## PIPELINES=300 through faulty answers and a kill every minute
	@$(BIN)/python -m dev.soak

distributed: $(NOX)        ## PIPELINES=200 on PostgreSQL, Redis, Celery; a triggerer and a worker are lost on the way
	@$(PYTHON) -m dev.distributed_engine
	@$(NOX) -s "extended(distributed)"
	@.local/nox/extended-distributed/bin/python -m pytest -q tests/test_distributed_page.py
	@.local/nox/extended-distributed/bin/python -m dev.distributed

environment: $(ENVIRONMENT)/.made

$(NOX):
	$(PYTHON) -m venv --clear .local/tools
	.local/tools/bin/python -m pip install --quiet "nox[uv]>=2025.2.9"
	@touch $@

$(ENVIRONMENT)/.made: $(NOX) $(PROJECTS) constraints/airflow-$(AIRFLOW).txt
	$(NOX) -s "dev($(AIRFLOW))"
	@touch $@

lint: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: environment         ## also of all DAGs that the docs show, against the built wheels
	$(BIN)/mypy -p airflow_provider_mosaic -p mosaic_emulator -p dev
	$(NOX) -s types

unit: $(NOX)               ## everything that needs no running Airflow, real sockets included, with the built wheels
	$(NOX) -s unit

e2e: environment           ## a real scheduler, DAG processor, triggerer and API server
	$(BIN)/python -m pytest -n 2 --dist loadgroup --durations=20 -m "airflow and not bursts"

test-bursts: environment   ## 50 runs that end together, again and again, while DAGs are paused; DATABASE=postgresql: not on SQLite
	$(BIN)/python -m pytest -m bursts

bench: environment peers   ## figures beside peers, as ratios in one run; a missed goal is said
	$(BIN)/python benchmarks/table.py

bench-transfer: environment
	$(BIN)/python benchmarks/transfer.py

peers: $(NOX)
	@$(NOX) -s "extended(peers)"

constraints: $(NOX)        ## resolve constraints/*.in again
	$(NOX) -s constraints

reference: environment     ## docs/operators.md from the docstrings
	$(BIN)/python -m dev.reference

clean:
	rm -rf .local/demo .local/checkouts .local/wheels .local/tests .local/faults .local/soak .local/distributed .local/benchmarks dist build
