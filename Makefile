# One verb a task; each installs what it needs. PYTHON=python3.13 chooses an interpreter (its
# environment is .venv-3.13), TESTS="tests/unit -k name" what `make test` runs.

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: demo test check bench interop interop-matrix conformance h2spec gen wheel fuzz fuzz-corpus \
    sanitize dev-mode soak abuse clean
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

PYTHON ?=
TESTS ?= tests
# Of `make fuzz`, for each target; of `make soak`.
SECONDS ?= 60
MINUTES ?= 10
VENV := $(if $(PYTHON),.venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'),.venv)
RUN := $(VENV)/bin/python
PYTEST := $(RUN) -m pytest -n auto --dist worksteal
# Folders too: a file that was removed leaves no other trace.
SOURCES := setup.py pyproject.toml README.md MANIFEST.in $(shell find src/gyrfalcon \
    -not -name '*.so' -not -name '*.c' -not -path '*/__pycache__*')

# Stamps: one environment, its groups of dependencies, the package built from the present sources.
$(VENV)/.made:
	scripts/venv.sh $(VENV) $(PYTHON)
	touch $@

$(VENV)/.with-%: $(VENV)/.made pyproject.toml
	$(RUN) scripts/dependencies.py $(subst +, ,$*)
	touch $@

$(VENV)/.installed: $(VENV)/.with-build $(SOURCES)
	$(RUN) scripts/install_package.py
	touch $@

demo: $(VENV)/.with-retail+cli+fast $(VENV)/.installed
	$(RUN) -m examples.demo

EVERYWHERE := tests/unit tests/core tests/call tests/blocking

# All of it on the chosen interpreter; then, unless one was asked for, what does not depend on the
# libraries around it on every other CPython of the machine.
test: $(VENV)/.with-test $(VENV)/.installed
	$(PYTEST) $(TESTS) || { echo '== once more, without company: what failed'; \
	    $(RUN) -m pytest --last-failed --last-failed-no-failures none $(TESTS); }
ifeq ($(PYTHON),)
	@for python in $$(scripts/pythons.sh others $(RUN)); do \
	    echo "== $$python: $(EVERYWHERE), not the rest"; \
	    $(MAKE) test PYTHON=$$python TESTS="$(EVERYWHERE)" || exit 1; \
	done
endif

# cython-lint starts pycodestyle by its name.
check: export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
check: $(VENV)/.with-test+check+bench $(VENV)/.installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	cython-lint src
	PYTHONPATH=src lint-imports
	$(RUN) -m mypy
	pyright --pythonpath $(RUN)

# pytest's part, then every case between our programs and those of other libraries, which are
# installed in .tools; a peer whose toolchain is not on the machine is named and left out.
interop: $(VENV)/.with-test $(VENV)/.installed
	$(PYTEST) tests/interop
	$(MAKE) interop-matrix PYTHON=$(PYTHON)

interop-matrix: $(VENV)/.with-test $(VENV)/.installed
	$(RUN) -m tests.interop.matrix
	$(RUN) scripts/interoperability_page.py

# Other people's suites, written in Go: .tools/ has them once they were installed. Where that cannot
# be, they are not run, and say so; GYRFALCON_REQUIRE_GO=1 makes it a failure.
conformance: $(VENV)/.with-test $(VENV)/.installed
	$(RUN) -m tests.conformance
	$(RUN) scripts/conformance_page.py

h2spec: $(VENV)/.with-test $(VENV)/.installed
	$(RUN) -m tests.h2spec
	$(RUN) scripts/conformance_page.py

# Coverage-guided fuzzing of each target in turn; TARGET="server client" chooses some.
fuzz: $(VENV)/.with-build+test+fuzz $(VENV)/.installed
	scripts/clang.sh
	$(RUN) -m fuzz --seconds $(SECONDS) $(if $(TARGET),--target $(TARGET))
	$(RUN) scripts/endurance_page.py

# The corpus that is kept, from what was found since.
fuzz-corpus: $(VENV)/.with-build+test+fuzz $(VENV)/.installed
	scripts/clang.sh
	$(RUN) -m fuzz --minimise $(if $(TARGET),--target $(TARGET))

# The tests of the native layer and of what stands on it, watched: FEW="tests/core -x" runs some.
WATCHED := tests/core tests/unit tests/call tests/blocking tests/fuzz_regressions
sanitize: $(VENV)/.with-build+test $(VENV)/.installed
	$(RUN) scripts/sanitized_tests.py -n auto $(if $(FEW),$(FEW),$(WATCHED))

dev-mode: $(VENV)/.with-test $(VENV)/.installed
	PYTHONDEVMODE=1 $(PYTEST) $(if $(FEW),$(FEW),$(WATCHED))

# Mixed load among faults, with a verdict and a picture in build/reports.
soak: $(VENV)/.with-test+bench $(VENV)/.installed
	$(RUN) -m tests.endurance.soak --minutes $(MINUTES) --picture build/reports/soak.png
	$(RUN) scripts/endurance_page.py

# Every known attack, longer than in the tests, with the neighbour's waiting times: build/reports/abuse.json.
abuse: $(VENV)/.with-test+cli $(VENV)/.installed
	$(RUN) -m tests.abuse
	$(RUN) scripts/endurance_page.py

bench: $(VENV)/.with-bench $(VENV)/.installed
	$(RUN) -m benchmarks

gen: $(VENV)/.with-bench $(VENV)/.installed
	$(RUN) scripts/generate.py

# A wheel with libnghttp2 inside, in dist/, tried where the system's library cannot be loaded.
wheel: $(VENV)/.with-build+wheel
	$(RUN) scripts/make_wheel.py

clean:
	rm -rf .venv .venv-* .tools build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src -name '*.so' -delete
