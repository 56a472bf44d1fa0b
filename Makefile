# fastgan: `make` lists the targets. They need Linux, Python >= 3.10, a C++ compiler and make, and set up the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

NATIVE := $(wildcard csrc/*/*) CMakeLists.txt
CXX_SOURCES := $(wildcard csrc/*/*.h csrc/*/*.cpp csrc/*/*.cu tests/cuda_on_cpu/*.h tests/cuda_on_cpu/*.cu)
PYTEST := $(BIN)/python -m pytest -q --durations=5
# For tests that compute on one core each.
IN_PARALLEL := -n logical
ONE_THREAD := OMP_NUM_THREADS=1
CPU_OPS := tests/ops -k "(cpu or not test_contract) and not compile and not opcheck and not gradcheck"
STATUS := build/status
announce = @printf '\n=== %s: %s\n' "$@" "$(1)"

# One step after the other, also under -j: each already uses every core.
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test lint unit interpreter aot status levels sanitize packaging format clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(VENV)/.train  ## train an SNGAN on Fashion-MNIST; show its samples, Fréchet distance and speed
	$(BIN)/python -m fastgan.trainers.demo --out runs/demo

test: lint unit interpreter aot status levels sanitize packaging  ## the whole suite: every check below
	@printf '\n=== test: all steps passed\n'

lint: $(VENV)/.dev  ## ruff, mypy and clang-format, changing nothing
	$(call announce,ruff mypy clang-format)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CXX_SOURCES)

unit: $(VENV)/.dev $(VENV)/.peers  ## all tests that need no process of their own
	$(call announce,the normal tests)
	FASTGAN_STATUS=$(STATUS)/ops.json $(ONE_THREAD) $(PYTEST) $(IN_PARALLEL) tests/ops tests/functional
	FASTGAN_STATUS=$(STATUS)/unit.json $(ONE_THREAD) $(PYTEST) $(IN_PARALLEL) --ignore=tests/ops --ignore=tests/functional \
	    -m "not interpreter and not aot and not packaging"

interpreter: $(VENV)/.dev  ## Triton kernels, executed on the CPU by Triton's interpreter
	$(call announce,Triton kernels interpreted)
	FASTGAN_STATUS=$(STATUS)/interpreter.json TRITON_INTERPRET=1 $(PYTEST) $(IN_PARALLEL) -m interpreter tests/triton_interp tests/ledger

aot: $(VENV)/.dev  ## GPU kernels, compiled ahead of time for every target
	$(call announce,GPU kernels compiled)
	FASTGAN_STATUS=$(STATUS)/aot.json $(PYTEST) $(IN_PARALLEL) -m aot tests/aot tests/ledger

status: unit interpreter aot  ## docs/status.md is what these three steps have shown
	$(call announce,docs/status.md is up to date)
	$(BIN)/python -m tests.status --check $(STATUS)

# The lowest level is the sanitizers'.
levels: $(VENV)/.dev  ## the CPU kernels at the ISA levels between this machine's best and the lowest
	$(call announce,CPU kernels at the ISA levels between)
	@for level in $$($(BIN)/python -c "from fastgan.ops import native; print(*native.extension().supported_levels()[1:-1])"); do \
	    echo "FASTGAN_CPU_ISA=$$level"; FASTGAN_CPU_ISA=$$level $(ONE_THREAD) $(PYTEST) $(IN_PARALLEL) $(CPU_OPS) || exit 1; \
	done

# The tests run in a copy of the tree that holds the sanitized extension. The leak checker stays off: it would report Python.
# Only Python's output is captured: a sanitizer's report comes just before the process ends. Two threads each, for what
# kernels allocate and share by thread.
SANITIZED := build/sanitize
LOWEST_LEVEL := $(if $(filter x86_64,$(shell uname -m)),v2,base)
sanitize: $(VENV)/.dev  ## the CPU kernels under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call announce,CPU kernels under ASan and UBSan)
	rm -rf $(SANITIZED)/tree && mkdir -p $(SANITIZED)/tree
	cp -r fastgan tests csrc pyproject.toml $(SANITIZED)/tree
	rm -rf $(SANITIZED)/tree/fastgan/_native_* $(SANITIZED)/tree/fastgan/_cuda
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S . -B $(SANITIZED)/cmake -G Ninja -DFASTGAN_SANITIZE=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	    -DCMAKE_CXX_COMPILER=$(CXX) --log-level=WARNING -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir) \
	    -DCMAKE_INSTALL_PREFIX=$(CURDIR)/$(SANITIZED)/tree/fastgan
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build $(SANITIZED)/cmake --target install
	cd $(SANITIZED)/tree && OMP_NUM_THREADS=2 FASTGAN_CPU_ISA=$(LOWEST_LEVEL) ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	    LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so.6)" \
	    $(CURDIR)/$(PYTEST) --capture=sys $(IN_PARALLEL) $(CPU_OPS)

packaging: $(VENV)/.dev  ## sdist and wheels: built, installed in clean environments, used
	$(call announce,wheels and environments)
	$(PYTEST) tests/packaging

format: $(VENV)/.dev  ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_SOURCES)

clean:  ## remove what was built, the virtual environment included; runs and data stay
	rm -rf $(VENV) build dist *.egg-info fastgan/_native_* fastgan/_cuda

# An environment is made once, and brought up to date where what is installed or compiled has changed.
$(VENV)/.train: EXTRAS := train,metrics
$(VENV)/.dev: EXTRAS := train,video,hub,metrics,bench,dev
$(VENV)/.train $(VENV)/.dev: pyproject.toml constraints.txt setup.py $(NATIVE) | $(VENV)/bin/python
	$(call announce,fastgan[$(EXTRAS)] into $(VENV))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@

# Apart from the other packages: tests/peers.txt says why.
$(VENV)/.peers: tests/peers.txt | $(VENV)/bin/python
	$(call announce,peers into $(VENV)/peers)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(VENV)/peers -r $<
	@touch $@

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
