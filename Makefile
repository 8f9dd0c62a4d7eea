# Every target does its own set-up in .venv; a fresh clone needs make and Python 3.11+, as the versions
# in constraints.txt do. What is installed from a wheel runs on 3.10 too.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-slow test-collectors lint format proto published schema constraints bench wheel clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

# Installed once, and again whenever what is installed changes.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[server,openfeature]' --group dev
	@touch $@

demo: $(READY)  ## run a real app as two versions and ask which is slower
	$(BIN)/python -m otel_vtrack.demo

serve: $(READY)  ## run the receiver on 127.0.0.1:4317 (gRPC) and :4318 (HTTP)
	$(BIN)/vtrack serve

test: $(READY)  ## run the test suite
	$(BIN)/pytest -n 2 --dist loadfile

test-slow: $(READY)  ## run what takes long: SDK versions, other vendors' set-ups, kill -9 under load
	$(BIN)/pytest -m slow --timeout 900 -n 2 --dist loadfile

# Go, Node, a JDK and Maven must be on PATH; what they build is kept in ~/.cache/otel-vtrack.
test-collectors: $(READY)  ## build the Go Collector once, and test its configurations and chains with it
	$(BIN)/python tests/collectors/toolbox.py
	$(BIN)/pytest -m collectors --timeout 300

lint: $(READY)  ## ruff, pyright (strict), import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(READY)  ## rewrite the sources the way lint wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: $(READY)  ## regenerate otel_vtrack/v1 from proto/
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. \
	  --mypy_out=. --mypy_grpc_out=. proto/otel_vtrack/v1/*.proto

published: $(READY)  ## say that proto/ as it is now is published: breaking it fails the tests
	$(BIN)/buf build proto --exclude-source-info --output proto/published.txtpb

schema: $(READY)  ## rewrite schema.sql from the migrations and the mapping
	$(BIN)/python -m otel_vtrack.store.schema

constraints: $(READY)  ## rewrite constraints.txt from what is installed (names and versions only)
	$(BIN)/pip freeze --exclude-editable --exclude pip | grep -E '^[A-Za-z0-9._-]+==' > constraints.txt

bench: $(READY)  ## measure; prints ratios taken side by side in one run
	$(BIN)/python -m benchmarks

wheel: $(READY)  ## build dist/*.whl
	$(BIN)/python -m build --wheel

clean:  ## remove what the targets made
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .hypothesis
