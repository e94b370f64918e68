# What one does with this repository. `make` lists the targets. A fresh machine needs python3 (3.11 or later) with venv
# and pip, and make; `test` also takes redis-server, luacheck and Docker where they are there (CONTRIBUTING.md).

PYTHON ?= python3
DOCS ?= .
REPORT ?= report.html
# By file, so that what a module's fixtures start is started once (xdist's groups do nothing under pytest 9.2).
WORKERS ?= 4
MINUTES ?= 10
# More options for pytest: make test ARGS="tests/unit -k append"
ARGS ?=

bin := .venv/bin
EXTRAS := .venv/.extras
DEV := .venv/.dev
BENCH := .venv/.bench

.DEFAULT_GOAL := help
.PHONY: help install run test lint bench bench-consumers bench-timers bench-sagas bench-projections soak constraints clean

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	  awk -F'|' '{ printf "%-22s %s\n", $$1, $$2 }'

install: $(DEV)  ## Make .venv with all extras, the tools of development, and the command .venv/bin/eventstore

run: $(EXTRAS)  ## Check documentation, this repository's own or DOCS=path, and write report.html
	@$(bin)/python -m examples.docs_consistency "$(DOCS)" --html "$(REPORT)"
	@printf '\nThe report, to open in a browser: %s\n' "$(abspath $(REPORT))"

test: $(DEV)  ## Run the tests; REQUIRE_ALL=1 fails what would be skipped because a service is missing
	$(bin)/pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(DEV)  ## Check style, types, the order of the packages, and Lua
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy --strict
	$(bin)/lint-imports
	@if command -v luacheck >/dev/null; then echo luacheck --quiet --no-color .; luacheck --quiet --no-color .; \
	  elif [ "$(REQUIRE_ALL)" = 1 ]; then echo "luacheck is missing: apt-get install lua-check" >&2; exit 1; \
	  else echo "luacheck is not installed: Lua was not checked (apt-get install lua-check)" >&2; fi

bench: $(BENCH)  ## Measure the log beside its peers: table, JSON, chart; less with ARGS="--rounds 3 --only append"
	$(bin)/python -m benchmarks.log $(ARGS)

bench-consumers: $(BENCH)  ## Measure consumers beside their peers, and under failure, urgency and load
	$(bin)/python -m benchmarks.consume $(ARGS)

bench-timers: $(BENCH)  ## Measure how late scheduled events are, and what waiting costs; more with ARGS="--waiting 1000000"
	$(bin)/python -m benchmarks.timers $(ARGS)

bench-sagas: $(BENCH)  ## Measure sagas beside DBOS: steps a second, and how long a saga takes
	$(bin)/python -m benchmarks.sagas $(ARGS)

bench-projections: $(BENCH)  ## Measure projections beside loops by hand and a peer: rebuilt, and how late rows are
	$(bin)/python -m benchmarks.project $(ARGS)

soak: $(DEV)  ## For MINUTES=10: measure a log of so many million events, then repeat property tests and crashes
	$(bin)/python -m benchmarks.flat --events $$(($(MINUTES) < 10 ? $(MINUTES) * 1000000 : 10000000))
	@end=$$(($$(date +%s) + 60 * $(MINUTES))); round=0; \
	while [ $$(date +%s) -lt $$end ]; do \
	  round=$$((round + 1)); echo "round $$round"; \
	  EVENTSTORE_SOAK=1 $(bin)/pytest tests/property tests/chaos $(ARGS) || exit 1; \
	done; echo "$$round rounds without a fault"

constraints: $(DEV)  ## Choose the newest versions of all dependencies anew, into constraints.txt
	$(bin)/python -m pip install --quiet uv
	$(bin)/uv pip compile --quiet --universal --upgrade --all-extras --no-annotate --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make constraints" --output-file constraints.txt pyproject.toml

clean:  ## Remove what was made here, but not the events in .eventstore
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis \
	  .coverage report.html benchmarks/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp says when .venv last fitted pyproject.toml and constraints.txt. `run` does without the tools of development.
$(EXTRAS): pyproject.toml constraints.txt
	$(call into_venv,.[all])
	@touch $@

$(DEV): pyproject.toml constraints.txt
	$(call into_venv,.[all$(comma)dev])
	@touch $(EXTRAS) $@

# Not for every machine there is a wheel of every peer: then one by one, and the run names those that are missing.
$(BENCH): pyproject.toml constraints.txt
	$(call into_venv,.[all])
	@echo "installing the peers"; $(pip_install) --editable ".[all,bench]" || \
	  $(bin)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"], sep="\n")' | \
	  while read -r one; do $(pip_install) "$$one" || echo "not installed: $$one" >&2; done
	@touch $(EXTRAS) $@

comma := ,
pip_install = $(bin)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

define into_venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
  { echo "Python 3.11 or later is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
@[ -x $(bin)/python ] || $(PYTHON) -m venv .venv || \
  { rm -rf .venv; echo "Python's venv is missing: apt-get install python3-venv" >&2; exit 1; }
@echo "installing $(1) into .venv"
@$(pip_install) --editable "$(1)"
endef
