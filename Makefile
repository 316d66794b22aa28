# `make demo` shows the whole system at work; `make test` tests it; `make help` lists the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
STUBS := hemaserve/v1
LOCK := $(BIN)/pip-compile --quiet --generate-hashes --constraint constraints.txt --strip-extras --no-config \
  --no-annotate --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links
.DEFAULT_GOAL := help

.PHONY: help machine demo up test test-long test-training lint format protos release-protos docs bench bench-check \
  bench-footprint bench-crops bench-faults lock check-locks sbom audit check-deploy images clean

help: ## list what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' \
	  || { echo "HemaServe needs Python 3.11 or newer; name it: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv

# Each stamp stands for one set of packages; constraints.txt says exactly which versions were tested together.
.venv/.serving: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing HemaServe and NVIDIA Triton into .venv (a few hundred MB, a few minutes the first time) ..."
	@$(PIP) install -c constraints.txt -e '.[services,embedded,evaluate]'
	@touch $@

.venv/.dev: .venv/.serving
	@echo "Installing the development tools ..."
	@$(PIP) install -c constraints.txt -e '.[services,embedded,evaluate,dev]'
	@touch $@

machine: # says at once where Triton's wheel cannot run
	@$(PYTHON) -m services.triton.wheel

demo: machine .venv/.serving ## start everything, analyse a sample, show the annotated picture
	@$(BIN)/hemaserve demo

up: .venv/.serving ## start the whole stack on this machine; Ctrl-C stops it
	@$(BIN)/hemaserve up

test: .venv/.dev ## run all tests, with real Triton and real networks
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-long: .venv/.dev ## run the tests that take minutes and that `make test` leaves out; of the images: after `make images`
	$(BIN)/python -m pytest -m long $(PYTEST_ARGS)

test-training: ## test the factory of networks, in its own environment (see training/README.md)
	.venv-train/bin/python -m pytest training/tests

lint: .venv/.dev ## check formatting, lint, types, imports, and the contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/buf breaking protos --against protos/released.binpb

format: .venv/.dev ## format code and protos
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format --write protos

protos: .venv/.dev ## generate the stubs and the API reference from the contract
	rm -f $(STUBS)/*_pb2*.py $(STUBS)/*_pb2*.pyi
	PATH="$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I protos -I third_party \
	  --python_out=. --grpc_python_out=. --mypy_out=quiet:. --mypy_grpc_out=quiet:. protos/hemaserve/v1/*.proto
	$(BIN)/python scripts/api_reference.py
	$(BIN)/python scripts/telemetry.py

docs: .venv/.dev ## write anew what is made from declarations, specifications and recorded measurements
	$(BIN)/python scripts/api_reference.py
	$(BIN)/python scripts/telemetry.py
	$(BIN)/python scripts/committed_models.py
	$(BIN)/python -m observability
	$(BIN)/python scripts/performance.py
	$(BIN)/python scripts/reliability.py
	$(BIN)/python scripts/accuracy.py --render
	$(BIN)/python -m benchmarks.capacity.page

release-protos: .venv/.dev ## at a release: remember the contract that later ones must stay compatible with
	$(BIN)/buf build protos --output protos/released.binpb

bench: .venv/.dev ## measure speed and start-up against their ceilings, for 40 minutes, and write docs/performance.md
	$(BIN)/python -m benchmarks bars --json docs/performance/bars.json
	$(BIN)/python -m benchmarks empty --json docs/performance/empty.json
	$(BIN)/python -m benchmarks curves --json docs/performance/curves.json
	$(BIN)/python -m benchmarks start --json docs/performance/start.json
	$(BIN)/python scripts/performance.py

bench-check: .venv/.dev ## whether it became slower than what `python -m benchmarks regression --record` recorded
	$(BIN)/python -m benchmarks regression

bench-footprint: .venv/.dev ## measure memory and start-up of each profile, and write docs/footprint.md
	$(BIN)/python -m benchmarks.footprint --page docs/footprint.md

bench-crops: .venv/.dev ## measure crops per second of each classifier, and write them into the docs
	$(BIN)/python -m benchmarks.crops_per_second --json docs/accuracy/speed.json
	$(BIN)/python scripts/accuracy.py --render

bench-faults: .venv/.dev ## break the stack at random and soak it, for 80 minutes, and write docs/reliability.md
	$(BIN)/python -m benchmarks.faults --minutes 30 --json docs/reliability/faults.json
	$(BIN)/python -m benchmarks.soak --minutes 45 --json docs/reliability/soak.json
	$(BIN)/python scripts/reliability.py

lock: .venv/.dev ## after an upgrade: write the installed versions to constraints.txt and the images' locks
	$(PIP) freeze --exclude-editable --exclude setuptools --exclude pip | sort -f > constraints.txt
	$(LOCK) --extra runtime --extra gateway --output-file deploy/requirements/gateway.txt pyproject.toml
	$(LOCK) --extra runtime --extra networks --output-file deploy/requirements/networks.txt pyproject.toml
	$(LOCK) --extra runtime --extra networks --extra embedded --output-file deploy/requirements/triton.txt pyproject.toml
	echo 'setuptools>=77' | $(LOCK) --allow-unsafe --output-file deploy/docker/setuptools.txt -

check-locks: .venv/.dev ## ask the package index whether every locked package can be had with the hash that is locked
	for lock in deploy/requirements/*.txt deploy/docker/setuptools.txt; do \
	  $(PIP) download --quiet --require-hashes --no-deps --dest build/locked --requirement $$lock || exit 1; done

sbom: .venv/.dev ## write what the images are made of, networks included, to dist/sbom (CycloneDX)
	for lock in deploy/requirements/*.txt; do \
	  $(BIN)/python scripts/sbom.py $$lock dist/sbom/$$(basename $$lock .txt).json || exit 1; done

audit: .venv/.dev ## look up known vulnerabilities of the images' packages; AUDIT_ARGS="--database DIR" offline
	$(BIN)/python scripts/audit.py $(AUDIT_ARGS)

# checkov brings a hundred packages of its own, some in versions that ours do not go with.
.venv-checkov/bin/checkov: deploy/k8s/checkov.txt | $(BIN)/python
	$(PYTHON) -m venv .venv-checkov
	.venv-checkov/bin/python -m pip --disable-pip-version-check --quiet install -r $<
	@touch $@

check-deploy: .venv/.dev .venv-checkov/bin/checkov ## check policies of the Kubernetes manifests, with checkov
	$(BIN)/python scripts/check_deploy.py --checkov .venv-checkov/bin/checkov

images: .venv/.dev ## build the images, and write docs/images.md; IMAGES_ARGS="--base IMAGE" without a registry
	$(BIN)/python scripts/images.py --page docs/images.md $(IMAGES_ARGS)

clean: ## remove what can be made again
	rm -rf .venv .venv-checkov .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist out *.egg-info
