# Every command sets itself up first; `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PORT ?= 3000
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := 1
export GX_ANALYTICS_ENABLED := false

INSTALLED := .venv/.installed
SPARK := .venv/spark
MANIFEST := dbt/target/manifest.json
# A file is one worker's, for what its tests share; in the order given: what takes long comes first, so that both workers
# end together, and while one is at whole runs the other makes the universities that all files of definitions/ wait for.
TESTS := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
UNIT := $(sort $(shell find tests/unit -name 'test_*.py'))
LONG_UNIT := tests/unit/test_store_publish.py tests/unit/test_ingest_kill.py
LONG_ROOMS := tests/end_to_end tests/definitions tests/models
ROOMS := $(filter-out tests/unit tests/__pycache__ $(LONG_ROOMS),$(patsubst %/,%,$(wildcard tests/*/))) $(wildcard tests/test_*.py)
DBT_FILES := $(shell find dbt -type f -not -path 'dbt/target/*' -not -path 'dbt/logs/*')

.PHONY: help setup run demo check-contract publish-for find-learner call-list erase search-identifiers ui test test-all coverage lint lint-spark format simulations planted recovery fuzz chaos \
  bench bench-campus bench-daily bench-landing bench-statistics lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1|/' | column -t -s '|'

setup: $(INSTALLED) $(MANIFEST)  ## install everything into .venv (the others do it themselves)

run: setup  ## load, build, check, publish: SOURCE=oulad LANDING=path [CONTRACT=oulad] [EVERYTHING=1]
	@test -n "$(SOURCE)" || { echo "Say which source and where its files lie: make run SOURCE=oulad LANDING=path"; exit 2; }
	@$(BIN)/python -m dagster_project run --source "$(SOURCE)" $(if $(LANDING),--landing "$(LANDING)") $(if $(CONTRACT),--contract "$(CONTRACT)") $(if $(EVERYTHING),--everything)

demo: setup  ## a university made up at the size of the report, through all of it: [STUDENTS=17960]
	@$(BIN)/python -m dagster_project demo $(if $(STUDENTS),--students "$(STUDENTS)")

check-contract: setup  ## what a contract makes of some files, in a warehouse of its own: CONTRACT=name LANDING=path
	@test -n "$(CONTRACT)" -a -n "$(LANDING)" || { echo "Say which contract and where files of it lie: make check-contract CONTRACT=campus LANDING=path"; exit 2; }
	@$(BIN)/python -m dagster_project check-contract --contract "$(CONTRACT)" --landing "$(LANDING)"

erase: setup  ## remove a learner everywhere: LEARNER=id in the source's files [SOURCE=campus]
	@test -n "$(LEARNER)" || { echo "Say whom: make erase LEARNER=id [SOURCE=campus]"; exit 2; }
	@$(BIN)/python -m dagster_project erase --learner "$(LEARNER)" $(if $(SOURCE),--source "$(SOURCE)")

publish-for: setup  ## a file of its own, with its rows only: PROGRAM=id | ORGANIZATION=id | UNIVERSITY=name
	@$(BIN)/python -m dagster_project publish-for $(if $(PROGRAM),--program "$(PROGRAM)") $(if $(ORGANIZATION),--organization "$(ORGANIZATION)") $(if $(UNIVERSITY),--university "$(UNIVERSITY)")

find-learner: setup  ## from a published pseudonym back to the learner: PSEUDONYM=id or key
	@test -n "$(PSEUDONYM)" || { echo "Say which: make find-learner PSEUDONYM=learner_id or learner_key"; exit 2; }
	@$(BIN)/python -m dagster_project find-learner --pseudonym "$(PSEUDONYM)"

call-list: setup  ## the published call list with names, for its owner alone: [PROGRAM=id]
	@$(BIN)/python -m dagster_project call-list $(if $(PROGRAM),--program "$(PROGRAM)")

search-identifiers: setup  ## search everything that runs write for the learners' names and e-mail addresses
	@$(BIN)/python -m dagster_project search-identifiers

ui: setup  ## the Dagster UI on loopback, with the schedule and the landing sensor: [PORT=3000] [HOST=127.0.0.1]
	@$(BIN)/python -m dagster_project ui --port $(PORT) $(if $(HOST),--host "$(HOST)")

test: setup  ## all tests but the slow ones, the fast first
	$(TESTS) $(LONG_UNIT) $(filter-out $(LONG_UNIT),$(UNIT))
	$(TESTS) $(LONG_ROOMS) $(ROOMS)

coverage: setup  ## the same, and the lines and branches that they reach
	$(TESTS) --cov --cov-report=
	@$(BIN)/python .ci/coverage_by_room.py

test-all: setup  ## every test, those on the real data too
	$(BIN)/python -m pytest -m ""

lint: setup  ## ruff, sqlfluff, import-linter, types, dg check defs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/sqlfluff lint --processes 2 dbt
	$(BIN)/lint-imports
	$(BIN)/ty check
	$(BIN)/dg check defs

lint-spark: $(SPARK)/.installed  ## the models on Spark, on tables without rows; needs Java 17
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && cd "$$folder" && \
	  LEARNING_WAREHOUSE_SPARK="$$folder" "$(CURDIR)/$(SPARK)/bin/dbt" --quiet build --empty --target spark \
	  --exclude-resource-type test unit_test --project-dir "$(CURDIR)/dbt" --profiles-dir "$(CURDIR)/dbt" \
	  --target-path "$$folder/target" --log-path "$$folder/logs"

format: setup  ## put Python and SQL into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/sqlfluff fix --processes 2 dbt

simulations: setup  ## coverage and size of the statistics by simulation; long
	$(BIN)/python -m pytest -m slow tests/statistics

planted: setup  ## after make demo: the effect of every driver as planted and as the warehouse found it
	@$(BIN)/python -m benchmarks.drivers

recovery: setup  ## the same in universities at the size of the report, and how often intervals hold it: [SEEDS=20]
	@$(BIN)/python tests/statistics/test_driver_recovery.py --seeds "$(or $(SEEDS),20)"

fuzz: setup  ## any bytes as landing files of every table; half an hour: [EXAMPLES=500]
	FUZZ_EXAMPLES="$(or $(EXAMPLES),500)" $(BIN)/python -m pytest -m slow -q -s tests/unit/test_ingest_fuzz.py tests/unit/test_ingest_json_fuzz.py

chaos: setup  ## kill -9, full disks, damaged files and other faults, and what comes after them; an hour: [KILLS=52]
	$(BIN)/python -m tests.chaos $(if $(KILLS),--kills "$(KILLS)")

bench: setup  ## the warehouse against a script written by hand: OULAD=path of the zip
	$(BIN)/python -m benchmarks.oulad --zip "$(OULAD)"

bench-daily: setup  ## what a day costs where nothing, one day or one model is new: [STUDENTS=17960] [OULAD=path of the zip]
	$(BIN)/python -m benchmarks.daily $(if $(STUDENTS),--students "$(STUDENTS)") $(if $(OULAD),--oulad "$(OULAD)")

bench-campus: setup  ## the simulated university at 1, 4 and 16 times the size of the report; long: [STUDENTS=17960]
	$(BIN)/python -m benchmarks.campus $(if $(STUDENTS),--students "$(STUDENTS)")

bench-landing: setup  ## what JSON lines cost to load: a log of 121 MB, the same as openedx keeps it, 2 million lines of which 1 % are broken
	$(BIN)/python -m benchmarks.landing
	$(BIN)/python -m benchmarks.landing --openedx
	$(BIN)/python -m benchmarks.landing --lines 2000000 --broken

bench-statistics: setup  ## double lasso and item response theory against other libraries; long
	$(BIN)/uv pip install --quiet --group peers
	$(BIN)/python -m benchmarks.double_lasso
	$(BIN)/python -m benchmarks.irt --peer $(BIN)/python
	$(BIN)/python -m benchmarks.longitudinal

lock:  ## pin the newest versions that pyproject.toml allows
	$(BIN)/uv lock --upgrade
	# The lock holds names, versions and hashes; where packages come from is the installing machine's own setting.
	sed -i -E 's#registry = "https://[^"]+"#registry = "."#; s#url = "https://[^"]*/([^/"]+)"#path = "\1"#' uv.lock

clean:  ## forget the environment and what dbt compiled; the warehouse stays
	rm -rf .venv dbt/target dbt/logs

$(INSTALLED): uv.lock pyproject.toml .ci/install.py
	@PATH="$$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null | grep -q libgomp.so.1 || echo "Note: LightGBM needs the system library libgomp.so.1 (Debian: apt-get install libgomp1)"
	@test -d .venv || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import sys; assert sys.version_info[:2] == (3, 11), f"Python 3.11 is needed, found {sys.version}: make PYTHON=path-of-python3.11"'
	@$(BIN)/python .ci/install.py
	@touch $@

$(SPARK)/.installed: $(INSTALLED)
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(SPARK)
	@$(BIN)/uv export --quiet --frozen --only-group spark --no-emit-project --output-file $(SPARK)/requirements.txt
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(SPARK)/bin/python $(SPARK)/requirements.txt
	@touch $@

$(MANIFEST): $(INSTALLED) $(DBT_FILES)
	@$(BIN)/dbt --quiet parse --project-dir "$(CURDIR)/dbt" --profiles-dir "$(CURDIR)/dbt"
	@touch $@
