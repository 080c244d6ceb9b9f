# `make demo` and `make test` do all the set-up on a Debian 12 machine, as root; both can be repeated.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := podman runc conmon netavark iptables mmdebstrap mount git curl ca-certificates python3-venv
TEST_PACKAGES := bind9-dnsutils busybox-static openssl shellcheck zsh fish
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help demo test check fuzz simulate bench setup packages clean

help:
	@echo "make demo    set up, start the appliance, push an example and show it live; leaves it running"
	@echo "make test    set up and run the whole test suite, real Podman included"
	@echo "make check   ruff and mypy"
	@echo "make fuzz    call every endpoint of the API with made-up requests, others each time, for some minutes"
	@echo "make simulate  live through random operations and faults on a virtual clock; SEED, SEEDS and STEPS say how many"
	@echo "make bench   side-by-side measurements; see bench/README.md"
	@echo "make clean   remove the virtual environment and caches (not the appliance: flynn-aio down)"

demo: setup
	@bash examples/demo.sh

test: setup $(VENV)/dev check
	@bash config/setup/packages.sh $(TEST_PACKAGES)
	$(BIN)/pytest

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fuzz: $(VENV)/dev
	FUZZ_SEED=$$(date +%s) FUZZ_EXAMPLES=200 $(BIN)/pytest -s tests/controller/test_fuzz.py

simulate: $(VENV)/dev
	$(BIN)/python -m tests.simulation --seed $(or $(SEED),1) --seeds $(or $(SEEDS),20) --steps $(or $(STEPS),10000)

bench: setup $(VENV)/dev
	$(BIN)/python -m bench

setup: packages $(VENV)/installed

packages:
	@bash config/setup/packages.sh $(PACKAGES)

$(VENV)/installed: pyproject.toml | packages
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	$(BIN)/python -m compileall -q flynn_aio
	@touch $@

$(VENV)/dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
