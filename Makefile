# Every command of the README. Each sets up what it needs: `make demo` and `make test` work on a fresh clone.
PYTHON ?= python3
PORT ?= 8000
STATE ?= var
STACK ?= tessera
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export SAM_CLI_TELEMETRY = 0

VENV := .venv/bin
INSTALL := $(VENV)/python -m pip install -qq --constraint constraints.txt
UPPY := web/examples/uppy
SOURCES := layers/core/python:layers/engine/python:functions:client

.PHONY: demo serve test test-torch openapi crash-lab histories mutants fuzz fuzz-api check bench bench-control-plane bench-engine bench-gpu load models train quantise sam-check build deploy deploy-gpu \
	uppy clean

demo: $(if $(WORKER),.venv/test,.venv/local)  ## Upscale the bundled sample, or IMAGE=path, on this machine and show every hop. WORKER=modal: by gpu_app.py.
	@$(VENV)/python -m infra.local demo $(if $(IMAGE),"$(IMAGE)") $(if $(WORKER),--param Worker=$(WORKER))

serve: .venv/local  ## The stack in the foreground; PORT=, API_KEY=, STATE=, PARAMS="Name=Value ..." can be given.
	@$(VENV)/python -m infra.local serve --port $(PORT) --state $(STATE) $(if $(API_KEY),--api-key "$(API_KEY)") \
		$(foreach parameter,$(PARAMS),--param $(parameter))

test: .venv/test  ## All tests.
	$(VENV)/python -m pytest -q -n 2 --dist loadfile

test-torch: .venv-torch/done  ## The real networks on PyTorch, with weights from WEIGHTS=folder where there are any.
	$(if $(WEIGHTS),TESSERA_TEST_WEIGHTS="$(WEIGHTS)") .venv-torch/bin/python -m pytest -q --confcutdir=tests/torch tests/torch

openapi: .venv/test  ## docs/openapi.json from the types of the code; a test fails while it is out of date.
	PYTHONPATH=$(SOURCES) $(VENV)/python -m reference docs/openapi.json

crash-lab: .venv/test  ## Every call of every flow to AWS and Modal fails in turn; ARGS="--flow happy".
	PYTHONPATH=$(SOURCES):. $(VENV)/python -m tests.crashlab $(ARGS)

histories: .venv/test  ## 200 random histories of 40 steps, and 25 with a GPU provider of moods.
	STATEFUL_EXAMPLES=100 STATEFUL_STEPS=40 $(VENV)/python -m pytest -q -n 2 tests/integration/test_stateful.py tests/integration/test_stateful_provider.py

mutants: .venv/test  ## Deliberate bugs, each of which the tests must catch; ARGS="NAME" for some.
	PYTHONPATH=$(SOURCES):. $(VENV)/python -m tests.mutants $(ARGS)

fuzz: .venv/test  ## FUZZ=100000 damaged files of all formats through the decoder; `make test` takes 10,000.
	FUZZ=$(or $(FUZZ),100000) $(VENV)/python -m pytest -q -s tests/unit/engine/test_fuzz.py

fuzz-api: .venv/test .venv-fuzz/done  ## Random requests by the dialects' OpenAPI documents; EXAMPLES= per operation, SEED=.
	PYTHONPATH=$(SOURCES) $(VENV)/python -m tests.fuzz --schemathesis .venv-fuzz/bin/schemathesis $(if $(EXAMPLES),--examples $(EXAMPLES)) $(if $(SEED),--seed $(SEED))

check: .venv/check  ## Lint, types, who imports whom, the template.
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	PYTHONPATH=$(SOURCES):. $(VENV)/lint-imports
	$(VENV)/cfn-lint template.yaml

bench: .venv/test  ## Quality and speed, side by side in one run; BENCH_DATA=folder with set5/, set14/ and kodak/.
	PYTHONPATH=$(SOURCES) $(VENV)/python -m bench $(if $(BENCH_DATA),--data "$(BENCH_DATA)")

bench-engine: .venv-oracle/done  ## The engine against its goals and other runtimes; BENCH_DATA=folder, OUT=file for JSON, ONLY="G1 G4".
	PYTHONPATH=$(SOURCES) .venv-oracle/bin/python -m bench.engine $(if $(BENCH_DATA),--data "$(BENCH_DATA)") \
		$(if $(OUT),--out "$(OUT)") $(if $(ONLY),--only $(ONLY))

bench-gpu: .venv-oracle/done  ## The public networks on one NVIDIA GPU, or a small size of it on the CPU; BENCH_DATA=folder, OUT=file.
	PYTHONPATH=$(SOURCES) .venv-oracle/bin/python -m bench.gpu $(if $(BENCH_DATA),--data "$(BENCH_DATA)") \
		$(if $(OUT),--out "$(OUT)")

bench-control-plane: .venv/test  ## What the functions beside the worker cost: import, CPU, AWS calls, growth.
	PYTHONPATH=$(SOURCES) $(VENV)/python -m bench.control_plane

load: .venv/test  ## The stack under load for MINUTES=5 while its processes are killed; ends with 1 if anything is lost.
	PYTHONPATH=$(SOURCES) $(VENV)/python -m bench.load $(if $(MINUTES),--minutes $(MINUTES))

models: .venv-torch/done  ## The public networks: ARGS="list", "pull NAME", "verify".
	@PYTHONPATH=$(SOURCES) .venv-torch/bin/python -m tessera_engine models $(or $(ARGS),list)

train: .venv-training/done  ## Train the default weights; see training/README.md.
	PYTHONPATH=$(SOURCES) .venv-training/bin/python -m training.train $(ARGS)

quantise: .venv-training/done  ## The default weights in 8-bit integers; NAME=tessera-photo, SCALE=2 or 4, BENCH_DATA=folder with train/.
	PYTHONPATH=$(SOURCES) .venv-training/bin/python -m training.quantise $(NAME) $(SCALE) $(if $(BENCH_DATA),--data "$(BENCH_DATA)")

uppy: $(UPPY)/node_modules/.done  ## Uppy from npm, bundled for its example and for the browser tests; needs Node 20.
	cd $(UPPY) && npm run --silent build -- --log-level=warning
	NODE_PATH=$(UPPY)/node_modules $(UPPY)/node_modules/.bin/esbuild tests/browser/uppy/page.js --bundle --format=esm \
		--outfile=build/uppy/page.js --log-level=warning

sam-check: .venv-sam/done  ## SAM's own reading of the template; no account needed.
	AWS_DEFAULT_REGION=eu-central-1 .venv-sam/bin/sam validate --lint --template template.yaml

build: sam-check  ## Packages for `sam deploy`.
	PATH="$(CURDIR)/.venv-sam/bin:$$PATH" .venv-sam/bin/sam build --template template.yaml

deploy: build .venv/local  ## The service to AWS: BUCKET=name, and STACK=, WORKER=cpu|modal, PARAMS="Name=Value ..." as you wish.
	@test -n "$(BUCKET)" || { echo "error: BUCKET=name is needed, for example tessera-<account>-<region>" >&2; exit 1; }
	PATH="$(CURDIR)/.venv-sam/bin:$$PATH" .venv-sam/bin/sam deploy --stack-name $(STACK) --resolve-s3 \
		--capabilities CAPABILITY_IAM --no-fail-on-empty-changeset \
		--parameter-overrides BucketName=$(BUCKET) $(if $(WORKER),Worker=$(WORKER)) $(PARAMS)
	$(VENV)/python -m infra.deploy_page --stack $(STACK)

deploy-gpu: .venv/test  ## gpu_app.py to Modal, checked before and after; infra/modal.md.
	$(VENV)/python -m infra.deploy_gpu

clean:
	rm -rf $(UPPY)/node_modules $(UPPY)/build .venv .venv-fuzz .venv-oracle .venv-sam .venv-torch .venv-training .aws-sam var build

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

$(UPPY)/node_modules/.done: $(UPPY)/package.json $(UPPY)/package-lock.json
	cd $(UPPY) && npm ci --no-audit --no-fund --loglevel=error
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

.venv-fuzz/done: pyproject.toml
	@$(PYTHON) -m venv .venv-fuzz
	@.venv-fuzz/bin/python -m pip install -qq schemathesis==4.32.5
	@touch $@

# --no-deps: basicsr asks for packages of its training only; its set-up reads torch, so it is built without isolation.
.venv-oracle/done: pyproject.toml constraints.txt
	@$(PYTHON) -m venv .venv-oracle
	@.venv-oracle/bin/python -m pip install -qq --upgrade pip==26.3
	@.venv-oracle/bin/python -m pip install -qq --constraint constraints.txt --group oracle
	@.venv-oracle/bin/python -m pip install -qq --no-deps torchvision==0.28.0
	@.venv-oracle/bin/python -m pip install -qq --no-build-isolation --no-deps basicsr==1.4.2 realesrgan==0.3.0
	@touch $@

.venv-training/done: pyproject.toml
	$(PYTHON) -m venv .venv-training
	.venv-training/bin/python -m pip install -qq --upgrade pip==26.3
	.venv-training/bin/python -m pip install -qq --constraint constraints.txt --group training
	@touch $@
