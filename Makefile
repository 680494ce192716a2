# Two commands do everything on a fresh Debian or Ubuntu with Python 3.11 or newer: `make demo` and
# `make test`. Both set up what is missing (system packages, .venv) first and are safe to repeat.

PYTHON_IN_VENV := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all soak fuzz lint format schemas dashboards docs-boards docs-operators docs-node-tests docs-reference docs docs-site screenshots deploy-check wheel clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

setup:  ## install what is missing: system packages, .venv, tinymlaas itself
	@scripts/setup.sh

demo: setup  ## compile the digits model for a Cortex-M4 board, run it there, show the result
	@$(PYTHON_IN_VENV) examples/digits/demo.py

test: setup  ## linters, type checker, layers, generated files, all tests but the slow ones
	@scripts/test.sh

test-all: setup  ## the same with the slow tests
	@scripts/test.sh --all

soak: setup  ## the farm's long tests only: 300 jobs under random kills, brokers killed, drains
	@.venv/bin/pytest -m slow tests/integration/chaos tests/integration/farm tests/integration/broker tests/integration/client tests/integration/roots

fuzz: setup  ## 50,000 mutated models, sample files, messages and archives; CASES=, SEED= for others
	@$(PYTHON_IN_VENV) -m tests.fuzz --cases $(or $(CASES),50000) --seed $(or $(SEED),0)

lint: setup  ## everything `make test` does before pytest
	@scripts/test.sh --lint

format: setup  ## reformat the code and apply the linter's safe fixes
	@.venv/bin/ruff check --fix . ; .venv/bin/ruff format .

schemas: setup  ## regenerate the JSON Schemas of the contract
	@$(PYTHON_IN_VENV) scripts/schemas.py

dashboards: setup  ## regenerate Grafana's dashboards, Prometheus' rules and what of deploy/k8s is made of them
	@$(PYTHON_IN_VENV) scripts/dashboards.py && $(PYTHON_IN_VENV) -m deploy.generate

docs-boards: setup  ## regenerate the table of boards in docs/boards.md
	@$(PYTHON_IN_VENV) scripts/boards_table.py

docs-operators: setup  ## regenerate docs/operators.md from what the compilers say
	@$(PYTHON_IN_VENV) scripts/operators_table.py

docs-node-tests: setup  ## run all ONNX backend node tests and regenerate docs/onnx-node-tests.md
	@$(PYTHON_IN_VENV) scripts/node_tests_table.py

docs-reference: setup  ## regenerate docs/reference/ from the code, the schemas and asyncapi.yaml
	@$(PYTHON_IN_VENV) -m scripts.reference

screenshots: setup  ## take the pictures in docs/screenshots/ anew, of a real farm in Chromium
	@$(PYTHON_IN_VENV) scripts/screenshots.py

docs: schemas docs-boards docs-operators docs-node-tests docs-reference  ## regenerate everything that is generated

docs-site: setup  ## build the documentation as a site into out/site, check its links
	@scripts/docs_site.sh

deploy-check: setup  ## render deploy/k8s/ and hold every object against schemas and rules
	@$(PYTHON_IN_VENV) -m deploy.check

wheel: setup  ## build the wheel into out/, in the place of older ones, which an image would take too
	@rm -f out/tinymlaas-*.whl; $(PYTHON_IN_VENV) -m hatchling build -t wheel -d out

clean:  ## remove caches and build output, keep .venv
	@rm -rf out .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
