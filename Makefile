# Apart from caches, these commands write only under .local/; a Python from 3.10 to 3.13 and make is all they need.
PYTHON ?= python3
AIRFLOW ?= 3.3
BIN := .local/airflow-$(AIRFLOW)/bin

# Containers and CI machines often set it; then every process of Airflow compiles what it imports, at each start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-matrix test-exhaustive test-hostile test-floors test-next test-faults test-bursts soak distributed environment lint types unit e2e bench bench-transfer constraints reference clean

demo: environment          ## the nightly pipeline on a real Airflow, from nothing; KEEP=1 leaves it up
	@$(BIN)/python -m dev.demo

test:                      ## what CI runs on one Airflow, with the seconds of each step
	@for step in environment lint types unit e2e; do \
	    started=$$(date +%s); $(MAKE) --no-print-directory $$step || exit; \
	    echo "make $$step: $$(($$(date +%s) - started)) s"; \
	done

test-matrix:               ## the built wheel on every supported Airflow, and with the oldest dependencies; FULL=1: on every Python
	@$(PYTHON) -m dev.matrix

test-exhaustive: environment   ## everything of a kind where `make unit` takes a covering part
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=20 -m exhaustive

test-hostile: environment  ## hostile servers, one attack at a time: the longest, the most memory, the secrets in any log
	$(BIN)/python -m pytest -q -m hostile

test-floors:               ## the API and its clients, attacks on them too, with the oldest dependencies that pyproject.toml allows
	@$(PYTHON) -m dev.matrix floors

test-next:                 ## the built wheel on the next Airflow, before its release
	@$(PYTHON) -m dev.matrix next

test-faults: environment   ## every kill point: expected and observed outcomes; DATABASE=postgresql: not on SQLite
	@PYTHONPATH=tests $(BIN)/python -m faults

soak: environment          ## PIPELINES=300 through faulty answers and a kill every minute
	@$(BIN)/python -m dev.soak

distributed:               ## PIPELINES=200 on PostgreSQL, Redis, Celery; a triggerer and a worker are lost on the way
	@$(PYTHON) -m dev.distributed_engine
	@$(PYTHON) -m dev.environment $(AIRFLOW) --group distributed > /dev/null
	@.local/airflow-$(AIRFLOW)-distributed/bin/python -m pytest -q tests/test_distributed_page.py
	@.local/airflow-$(AIRFLOW)-distributed/bin/python -m dev.distributed

environment:
	@$(PYTHON) -m dev.environment $(AIRFLOW) > /dev/null

lint: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: environment         ## also of all DAGs that the docs show, against the built wheel
	$(BIN)/mypy -p airflow_provider_mosaic -p dev
	@$(PYTHON) -m dev.type_check

unit:                      ## everything that needs no running Airflow, real sockets included, with the built wheel
	@$(PYTHON) -m dev.matrix unit

e2e: environment           ## a real scheduler, DAG processor, triggerer and API server
	$(BIN)/python -m pytest -n 2 --dist loadgroup --durations=20 -m "airflow and not bursts"

test-bursts: environment   ## 50 runs that end together, again and again, while DAGs are paused; DATABASE=postgresql: not on SQLite
	$(BIN)/python -m pytest -m bursts

bench: environment         ## figures beside peers, as ratios in one run; a missed goal is said
	$(BIN)/python benchmarks/table.py

bench-transfer: environment
	$(BIN)/python benchmarks/transfer.py

constraints:               ## resolve constraints/airflow-*.in anew
	$(PYTHON) -m dev.environment --compile

reference: environment     ## docs/operators.md from the docstrings
	$(BIN)/python -m dev.reference

clean:
	rm -rf .local/demo .local/matrix .local/tests .local/faults .local/soak .local/distributed .local/benchmarks dist build
