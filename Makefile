# Every command of the README. Each sets up what it needs: `make demo` and `make test` work on a fresh clone.
PYTHON ?= python3
PORT ?= 8000
STATE ?= var
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export SAM_CLI_TELEMETRY = 0

VENV := .venv/bin
INSTALL := $(VENV)/python -m pip install -qq --constraint constraints.txt
SOURCES := layers/core/python:layers/engine/python:functions:client

.PHONY: demo serve test test-torch crash-lab mutants check bench models train sam-check build clean

demo: .venv/local  ## Upscale the bundled sample, or IMAGE=path, on this machine and show every hop.
	@$(VENV)/python -m infra.local demo $(if $(IMAGE),"$(IMAGE)")

serve: .venv/local  ## The stack in the foreground; PORT=, API_KEY=, STATE=, PARAMS="Name=Value ..." can be given.
	@$(VENV)/python -m infra.local serve --port $(PORT) --state $(STATE) $(if $(API_KEY),--api-key "$(API_KEY)") \
		$(foreach parameter,$(PARAMS),--param $(parameter))

test: .venv/test  ## All tests.
	$(VENV)/python -m pytest -q -n 2 --dist loadfile

test-torch: .venv-torch/done  ## The real networks on PyTorch, with weights from WEIGHTS=folder where there are any.
	$(if $(WEIGHTS),TESSERA_TEST_WEIGHTS="$(WEIGHTS)") .venv-torch/bin/python -m pytest -q --confcutdir=tests/torch tests/torch

crash-lab: .venv/test  ## Every AWS call of every flow fails in turn, then 200 random histories; ARGS="--flow happy".
	PYTHONPATH=$(SOURCES):. $(VENV)/python -m tests.crashlab $(ARGS)
	STATEFUL_EXAMPLES=100 STATEFUL_STEPS=40 $(VENV)/python -m pytest -q -n 2 tests/integration/test_stateful.py

mutants: .venv/test  ## Deliberate bugs, each of which the tests must catch; ARGS="NAME" for some.
	PYTHONPATH=$(SOURCES):. $(VENV)/python -m tests.mutants $(ARGS)

check: .venv/check  ## Lint, types, who imports whom, the template.
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	PYTHONPATH=$(SOURCES):. $(VENV)/lint-imports
	$(VENV)/cfn-lint template.yaml

bench: .venv/test  ## Quality and speed, side by side in one run; BENCH_DATA=folder with set5/, set14/ and kodak/.
	PYTHONPATH=$(SOURCES) $(VENV)/python -m bench $(if $(BENCH_DATA),--data "$(BENCH_DATA)")

models: .venv-torch/done  ## The public networks: ARGS="list", "pull NAME", "verify".
	@PYTHONPATH=$(SOURCES) .venv-torch/bin/python -m tessera_engine models $(or $(ARGS),list)

train: .venv-training/done  ## Train the default weights; see training/README.md.
	PYTHONPATH=$(SOURCES) .venv-training/bin/python -m training.train $(ARGS)

sam-check: .venv-sam/done  ## SAM's own reading of the template; no account needed.
	AWS_DEFAULT_REGION=eu-central-1 .venv-sam/bin/sam validate --lint --template template.yaml

build: sam-check  ## Packages for `sam deploy`.
	PATH="$(CURDIR)/.venv-sam/bin:$$PATH" .venv-sam/bin/sam build --template template.yaml

clean:
	rm -rf .venv .venv-sam .venv-torch .venv-training .aws-sam var build

# ---------------------------------------------------------------- set-up
.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed: make PYTHON=python3.11 ...")'
	@echo "Setting up .venv, once"
	@$(PYTHON) -m venv .venv
	@$(VENV)/python -m pip install -qq --upgrade pip==26.3

.venv/local: pyproject.toml constraints.txt client/pyproject.toml | .venv/bin/python
	@$(INSTALL) --group local --editable client
	@touch $@

.venv/test: .venv/local
	@$(INSTALL) --group test
	@touch $@

.venv/check: .venv/test
	@$(INSTALL) --group check
	@touch $@

.venv-sam/done: pyproject.toml
	$(PYTHON) -m venv .venv-sam
	.venv-sam/bin/python -m pip install -qq aws-sam-cli==1.170.0
	@touch $@

.venv-torch/done: pyproject.toml constraints.txt
	@$(PYTHON) -m venv .venv-torch
	@.venv-torch/bin/python -m pip install -qq --upgrade pip==26.3
	@.venv-torch/bin/python -m pip install -qq --constraint constraints.txt --group torch
	@touch $@

.venv-training/done: pyproject.toml
	$(PYTHON) -m venv .venv-training
	.venv-training/bin/python -m pip install -qq --upgrade pip==26.3
	.venv-training/bin/python -m pip install -qq --constraint constraints.txt --group training
	@touch $@
