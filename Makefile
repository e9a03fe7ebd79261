# make tour: see minipc work.   make test: see it proven.   Both set up their own virtual environment.
# Other commands: make verify, make experiments, make notebooks, make mutants, make lint, make clean.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# one BLAS thread: small products gain nothing from a second one, and results repeat
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: tour test verify experiments notebooks mutants lint clean

tour: $(VENV)/ready
	$(BIN)/python -m minipc tour --out tour

test: $(VENV)/ready
	$(BIN)/python -m pytest -q

verify: $(VENV)/ready
	$(BIN)/python -m minipc verify

# every row beside what was expected; a line that does not land is no error of make. One row: python -m experiments 7
experiments: $(VENV)/ready
	-$(BIN)/python -m experiments all --out experiments/RESULTS.md

notebooks: $(VENV)/ready
	$(BIN)/python tutorials/build.py --check
	$(BIN)/python -m pytest -q --nbmake --nbmake-timeout=120 tutorials

# every small change of the gradient code against the tests (an hour); of one module: python -m tests.mutation spc
mutants: $(VENV)/ready
	$(BIN)/python -m tests.mutation

lint: $(VENV)/ready
	$(BIN)/python -m pip install -q "ruff>=0.9,<1"
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

$(VENV)/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "minipc needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 tour")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -r requirements.txt
	@touch $@

clean:
	rm -rf $(VENV) tour .pytest_cache .hypothesis .ruff_cache
