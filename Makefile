# GenerativeAugment: everything from a fresh checkout with Python >= 3.10, make and git.
#
#   make demo                     set up and run the whole chain on an embedded brain
#   make test PYTHON=python3.12   the same targets with another Python
#
# Everything is set up in the checkout's own virtual environment; delete $(VENV) to set it up anew.

PYTHON     ?= python3
VENV       ?= .venv
# Worker processes for the tests; each computes on one thread.
TEST_JOBS  ?= 2
# More words for pytest, for instance TEST_FLAGS="-k report".
TEST_FLAGS ?=
# DEMO_FLAGS=--short runs the demo in its short form.
DEMO_FLAGS ?=
BENCH_FLAGS ?=

BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
STARTER := build/starter

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo demo-short starter slicer-demo screenshots packaging test test-gpu lint format bench bench-main bench-methods clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP)  ## Set up the locked development environment

# The stamp is written last, so an interrupted installation is taken up again.
$(STAMP): requirements-development.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	    "Python 3.10 or newer is needed, this is %d.%d: make venv PYTHON=/path/to/python3" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-development.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## Run the whole chain on an embedded brain; ends at build/demo/report.html
	$(BIN)/python -m demo.run $(DEMO_FLAGS)

demo-short:  ## The demo in its short form, as the continuous integration runs it
	@$(MAKE) --no-print-directory demo DEMO_FLAGS="--short $(DEMO_FLAGS)"

# nohup and a process of its own, so that closing the terminal does not end hours of training.
starter: $(STAMP)  ## Train the starter models in the background; run again to resume
	@mkdir -p $(STARTER)
	@if [ -s $(STARTER)/pid ] && kill -0 "$$(cat $(STARTER)/pid)" 2>/dev/null; then \
	    echo "Already training as process $$(cat $(STARTER)/pid); its log is $(STARTER)/log.txt"; \
	else \
	    nohup $(BIN)/python -m demo.starter $(STARTER_FLAGS) >> $(STARTER)/log.txt 2>&1 < /dev/null & \
	    echo $$! > $(STARTER)/pid; \
	    echo "Training as process $$!; follow it with: tail -f $(STARTER)/log.txt"; \
	fi

# Without a screen: Qt draws into memory.
slicer-demo screenshots: export QT_QPA_PLATFORM = offscreen

slicer-demo: $(STAMP)  ## The Slicer module's work on a real MRML scene; ends at build/slicer-demo/scene.mrb
	$(BIN)/python Testing/slicer_demo.py $(DEMO_FLAGS)

screenshots: $(STAMP)  ## Draw every panel of the module with its results into Resources/Screenshots
	$(BIN)/python Testing/screenshots.py

packaging: $(STAMP)  ## Renew the lists of files in the CMake files and the model catalogue
	$(BIN)/python Testing/packagingLists.py
	$(BIN)/python -m demo.model_catalogue

# One thread a process: two processes that each start two threads get in each other's way on two cores.
test: export OMP_NUM_THREADS = 1
test: export MKL_NUM_THREADS = 1
test: $(STAMP)  ## Run every test
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist worksteal -ra --durations 10 $(TEST_FLAGS)

test-gpu: export OMP_NUM_THREADS = 1
test-gpu: $(STAMP)  ## Run the tests that need an NVIDIA GPU
	$(BIN)/python -m pytest -n $(TEST_JOBS) -rs Testing/gpu $(TEST_FLAGS)

lint: $(STAMP)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p genaug -p demo -p benchmarks

format: $(STAMP)  ## Put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## Time the engine beside its peers (docs/PERFORMANCE.md); resumes
	$(BIN)/python -m benchmarks.performance $(BENCH_FLAGS)

bench-methods: $(STAMP)  ## Measure every method under one budget (docs/METHODS_RESULTS.md); resumes
	$(BIN)/python -m benchmarks.methods $(BENCH_FLAGS)

bench-main: $(STAMP)  ## Measure every recipe on the hippocampus cohort (docs/RESULTS.md)
	$(BIN)/python -m benchmarks.main $(BENCH_FLAGS)

clean:  ## Remove what was built; the environment and the starter models' checkpoints stay
	@if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -name starter -exec rm -rf {} +; fi
	rm -rf dist .mypy_cache .ruff_cache .hypothesis
