# `make demo` and `make test` set themselves up: .venv is made once, and again when pins change.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow fuzz fuzz-models lint format tables docs dist bench claims clean

demo: $(READY)
	$(BIN)/tacita fit digits --labels-per-class 2 --draws 5 --out runs/demo --overwrite

test: $(READY) lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --durations 20

test-slow: $(READY)
	$(BIN)/pytest -m slow --timeout 1800

fuzz: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.readers --count 200000 --found build/fuzz

fuzz-models: $(READY)
	NUMBA_THREADING_LAYER=workqueue OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.models --count 20000

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

tables: $(READY)
	$(BIN)/python -m tacita.catalog.tables README.md
	$(BIN)/python -m tacita.catalog.reference docs/api/methods

docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	# Open build/docs/index.html.

dist: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,dist]'
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*

bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	# Without what it asks for (aim, wandb, torchaudio ...): see benchmarks/semilearn_fixmatch.py.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps semilearn==0.3.2
	$(BIN)/python -m benchmarks

claims: $(READY)
	$(BIN)/python -m claims
	$(BIN)/python -m tacita.catalog.reference docs/api/methods

clean:
	rm -rf $(VENV) build dist

$(READY): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
