# Needs only git, make and Python 3.11 or newer; everything else is installed first (tools/setup), without root too.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(shell command -v $(name) 2>/dev/null)))
SETUP := $(PYTHON) -m tools.setup
RUN := $(SETUP) run
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench bench-peers bench-refits soak always lock clean

help:    ## this list
	@sed -n 's/^\([a-z-]*\): .*## /  make \1\t/p; s/^\([a-z-]*\):  *## /  make \1\t/p' Makefile | expand -t 16

demo:    ## three departments, three languages, real data; installs what it needs first
	@$(SETUP) demo
	@$(RUN) yard demo

test:    ## all tests; TESTS="-k wire" for some
	@$(SETUP) test
	@$(RUN) pytest -n 2 --dist loadgroup $(TESTS)

lint:    ## formatting, rules, types, the direction of imports, the examples in docstrings
	@$(SETUP) python
	@$(RUN) ruff format --check
	@$(RUN) ruff check
	@$(RUN) mypy
	@$(RUN) lint-imports
	@$(RUN) pytest -q -p no:cacheprovider --doctest-modules --ignore=src/modelyard/store/migrations --ignore=src/modelyard/demo/projects src tools

bench:   ## the figures, as ratios in one run
	@$(SETUP) test
	@$(RUN) python -m bench.run

bench-peers: ## the same models served by eight other servers, into docs/benchmarks.md; installs 2 GB
	@$(SETUP) test
	@$(RUN) python -m bench.run --only peers features --write

bench-refits: ## bad candidates stopped, good ones needlessly, rollouts under load, idle policies; a quarter of an hour
	@$(SETUP) test
	@$(RUN) python -m bench.run --only planted needless policies rollouts

soak:    ## two nodes for an hour with a kill every minute, of anything; MINUTES=5 for a shorter one
	@$(SETUP) test
	@$(RUN) python -m bench.always soak --minutes $(or $(MINUTES),60)

always:  ## what fails while PostgreSQL, nodes and processes do: 10 min of outages, kills, 50 restarts, 100,000 operations, 1,000 crashes, 10 GB restored; an hour in all
	@$(SETUP) test
	@for figure in outages killed restarts champions crashes restore; do $(RUN) python -m bench.always $$figure || exit 1; done

setup:   ## install what demo and test need, and nothing more
	@$(SETUP) test

lock:    ## resolve pyproject.toml into requirements.lock anew
	@$(SETUP) lock

clean:   ## remove what setup put into this folder
	rm -rf .venv .tools
