# make bench   install, train every method on the embedded rooms, print the table
# make test    install, run the tests that are fast;  make slow: all tests of a change;  make gpu: those that need a GPU
# make drills  losses of nodes, heads and processes of Ray on real nodes, and long repetitions
# make nightly a run whose processes are killed at random, for MTLBENCH_KILLS_MINUTES (20)
# make lint    ruff and mypy --strict
# make docs    the pages in docs/, as a site in site/
# make verdict every method with five seeds, and with controls: more than an hour of training
PYTHON ?= python3.11
STORE ?= runs
BIN := .venv/bin
# A worker a CPU, and one more: a test that starts a scheduler waits for it most of the time, and for its turn. Each takes
# over tests of those that are behind, and otherwise keeps the tests of a file together.
PARALLEL := -n $(shell echo $$(($$(nproc) + 1))) --dist worksteal
GARBAGE := tests/results/records/test_garbage_records.py tests/harness/matrix/test_garbage_matrices.py

.PHONY: install bench smoke verdict test slow drills gpu nightly lint format docs clean

install: .venv/.installed

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

bench: install
	$(BIN)/mtlbench run rooms --store $(STORE)

smoke: install
	$(BIN)/mtlbench run smoke --store $(STORE)

verdict: install
	$(BIN)/mtlbench run rooms_verdict --store results/rooms_verdict/store --out results

# pytest keeps the test files that it has rewritten, if Python may write bytecode: else each worker rewrites them, for 6 s.
test slow drills: export PYTHONDONTWRITEBYTECODE :=

test: install
	$(BIN)/pytest $(PARALLEL) -W error -m 'not slow and not drill and not gpu and not nightly'

slow: install
	$(BIN)/pytest $(PARALLEL) -W error -m 'not drill and not gpu and not nightly'

drills: install
	$(BIN)/pytest $(PARALLEL) -W error -m 'drill and not gpu'
	MTLBENCH_GARBAGE_TIMES=4 $(BIN)/pytest $(PARALLEL) -W error $(GARBAGE)

gpu: install
	$(BIN)/pytest -W error -m gpu -s

nightly: install
	$(BIN)/pytest -W error -m nightly -s

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: install
	$(BIN)/python -m mtlbench.harness.matrix.reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf .venv site *.egg-info .mypy_cache .ruff_cache .pytest_cache
