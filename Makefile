# These commands need make and a Python from 3.10 to 3.13. Apart from caches, they write only to .local/,
# except `format`, `constraints` and `reference`.
PYTHON ?= python3
AIRFLOW ?= 3.3
NOX := .local/tools/bin/nox
ENVIRONMENT := .local/nox/dev-$(subst .,-,$(AIRFLOW))
BIN := $(ENVIRONMENT)/bin
PROJECTS := pyproject.toml emulator/pyproject.toml noxfile.py

# Containers often set it. Without bytecode, each process of Airflow compiles what it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-browser peers test-matrix test-exhaustive test-hostile test-floors test-next test-faults test-bursts soak distributed environment lint types unit e2e bench bench-transfer constraints reference quick-start docs site format test-pair release-check dist sbom audit clean

demo: environment          ## run the nightly pipeline on a real Airflow, and leave it running until Enter; KEEP=0 stops it, KEEP=1 leaves it running without a terminal too
	@$(BIN)/python -m mosaic_emulator demo --directory .local/demo $(if $(KEEP),$(if $(filter 0,$(KEEP)),--no-keep,--keep))

test:                      ## lint, types, unit and end-to-end tests on the newest Airflow, with the time of each step
	@for step in environment lint types unit e2e; do \
	    started=$$(date +%s); $(MAKE) --no-print-directory $$step || exit; \
	    echo "make $$step: $$(($$(date +%s) - started)) s"; \
	done

test-matrix: $(NOX)        ## test the wheels on the other Airflows and with the oldest dependencies; FULL=1: every Airflow with every Python
	$(NOX) -s matrix

test-pair: $(NOX)          ## test the wheels on one Airflow with one Python: AIRFLOW=3.2 PYTHON=python3.11
	$(NOX) -s "compatibility-$(subst python,,$(notdir $(PYTHON)))($(AIRFLOW))"

test-exhaustive: environment   ## test all combinations of which `make unit` takes a covering sample
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=20 -m exhaustive

test-hostile: environment  ## run all attacks of hostile servers; print the longest, the most memory, and secrets found in logs; FLOORS=1: with the oldest dependencies
	$(if $(FLOORS),$(NOX) -s floors -- -q -m hostile,$(BIN)/python -m pytest -q -m hostile)

test-browser: $(NOX)       ## drive the system's Chromium through the pages in a real Airflow; AIRFLOW=3.1; screenshots in .local/browser
	$(NOX) -s "browser($(AIRFLOW))"

test-floors: $(NOX)        ## test the API and its clients with the oldest dependencies that pyproject.toml allows
	$(NOX) -s floors

test-next: $(NOX)          ## test the wheels on the pre-release of the next Airflow
	$(NOX) -s next_airflow

test-faults: environment   ## kill processes and lose responses at every point; print expected and observed effects; DATABASE=postgresql
	@PYTHONPATH=tests $(BIN)/python -m faults

soak: environment          ## run PIPELINES=300 pipelines with faults and a kill every minute
	@$(BIN)/python -m dev.soak

distributed: $(NOX)        ## run PIPELINES=200 pipelines on PostgreSQL, Redis and Celery; lose a triggerer and a worker
	@$(PYTHON) -m dev.server_programs
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
	$(BIN)/codespell
	$(BIN)/lint-imports

format: environment        ## fix what ruff can fix, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: environment         ## check types, also of all DAGs in the docs, against the wheels
	$(BIN)/mypy -p airflow_provider_mosaic -p mosaic_emulator -p dev
	$(NOX) -s types

unit: $(NOX)               ## run all tests that need no running Airflow, with the wheels
	$(NOX) -s unit

e2e: environment           ## run the tests with a real scheduler, DAG processor, triggerer and API server
	$(BIN)/python -m pytest -n 3 --dist loadgroup --no-loadscope-reorder --durations=20 -m "airflow and not bursts" tests/airflow tests/faults tests/plugins

test-bursts: environment   ## end 50 runs together, while DAGs are paused, webhooks are lost and a triggerer is killed; DATABASE=postgresql
	$(BIN)/python -m pytest -m bursts

bench: environment peers   ## measure beside other providers and print ratios and goals
	$(BIN)/python benchmarks/table.py

bench-transfer: environment
	$(BIN)/python benchmarks/transfer.py

peers: $(NOX)
	@$(NOX) -s "extended(peers)"

constraints: $(NOX)        ## resolve constraints/*.in
	$(NOX) -s constraints

reference: environment     ## write docs/operators.md from the docstrings
	$(BIN)/python -m dev.reference

quick-start: $(NOX)        ## type the README's quick start in a new environment with the wheels; print the seconds: AIRFLOW=3.2
	@$(NOX) -s "quick_start($(AIRFLOW))"

docs: environment site     ## compare the pages with the code, and build the site
	$(BIN)/python -m pytest -q tests/test_docs.py

site: $(NOX)               ## build the site in .local/site; a broken link is an error
	$(NOX) -s docs

release-check:             ## check that TAG=v1.2.3 is the version of both distributions and the newest entry of the changelog
	@$(PYTHON) -m dev.release check "$(TAG)"

dist: $(NOX)               ## build both distributions in .local/dist, twice; SOURCE_URL makes the links of the README absolute
	$(NOX) -s dist

sbom: $(NOX)               ## list all that the wheels install: .local/sbom/sbom.json (CycloneDX), licenses.md
	$(NOX) -s sbom

audit: $(NOX)              ## look for advisories about what the wheels install; needs pypi.org
	$(NOX) -s audit

clean:
	rm -rf .local/browser .local/demo .local/quick-start .local/checkouts .local/wheels .local/tests .local/faults .local/soak .local/distributed .local/benchmarks .local/site .local/sbom .local/dist dist build
