# gatekeeper: `make run` to see it work, `make test` for everything. Needs git, make, Python 3.11 or later and pip.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PEER_PACKAGES := postfix unbound rbldnsd swaks miltertest prometheus procps haproxy libnet-ssleay-perl libmail-dkim-perl dovecot-lmtpd dovecot-imapd dovecot-sieve rspamd redis-server clamav-daemon spamassassin

# What Python and pytest have compiled once is kept: without it each test run, and each program that a test starts,
# compiles everything anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help run test test-faults fuzz check static unit full format peers lock reference bench model detection clean distclean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.run ## install into .venv, start gatekeeper with its demonstration, and keep running
	@$(BIN)/gatekeeper demo

test: static full peers ## everything: the unit tests on both event loops, then the tests against real peers

check: static unit ## format, lint, types, layers, unit tests; a minute or so

static: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config pyproject.toml

# Where memory has room for them the files of tests stand there: on a disk a third of the time goes to removing them.
RAM := $(shell [ "$$(df -k --output=avail /dev/shm 2>/dev/null | tail -1)" -gt 1000000 ] 2>/dev/null && echo TMPDIR=/dev/shm)

unit: $(VENV)/.dev ## the unit tests alone, on asyncio's loop, with few examples for each property
	$(RAM) LOOPS=asyncio HYPOTHESIS_PROFILE=quick $(BIN)/pytest -m "not peers and not slow" -n auto --dist worksteal \
		-o tmp_path_retention_policy=failed

full: $(VENV)/.training
	$(BIN)/pytest -m "not peers" -n auto --dist worksteal

test-faults: $(VENV)/.dev ## cuts at every octet, then 50,000 messages under SIGKILL on each store, and those around us harmed; half an hour
	$(BIN)/pytest -m "slow and not peers" tests/faults -n auto
	mkdir -p run && : > run/ledger
	$(BIN)/python -m tests.faults.ledger --messages 50000 --store sqlite --progress run/ledger
	$(BIN)/python -m tests.faults.ledger --messages 50000 --store redis --progress run/ledger
	$(BIN)/python -m tests.faults.ledger --messages 2500 --next-hop postfix --progress run/ledger
	$(BIN)/python -m tests.faults.ledger --messages 5000 --store redis --harm store --progress run/ledger
	$(BIN)/python -m tests.faults.ledger --messages 5000 --store cluster --harm store --progress run/ledger
	$(BIN)/python -m tests.faults.ledger --messages 5000 --harm disk --progress run/ledger
	$(BIN)/python -m tests.faults.ledger --messages 5000 --harm dns --progress run/ledger

fuzz: $(VENV)/.fuzzing ## MINUTES of processor time (10) for each parser that meets a stranger; what earlier runs did counts
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),10)

peers: $(VENV)/.dev ## the tests against postfix, unbound, rbldnsd, swaks, promtool: private instances on loopback
	@if [ "$$(id -u)" = 0 ] && { [ "$$CI" = true ] || [ "$$PEERS" = install ]; }; then \
	  .ci/peers install $(PEER_PACKAGES); else .ci/peers check $(PEER_PACKAGES); fi
	$(BIN)/pytest -m peers -rs

format: $(VENV)/.dev ## put the code in form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

reference: $(VENV)/.dev ## write config/gatekeeper.toml and docs/reference/ anew from the code
	$(BIN)/python -m gatekeeper.cli.reference

lock: ## choose the newest versions that pyproject.toml allows; needs uv
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra uvloop pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra uvloop --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --group training -c requirements-dev.lock -o requirements-training.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --group fuzzing -c requirements-dev.lock -o requirements-fuzzing.lock

bench: $(VENV)/.dev ## CPU per message, messages per second, memory; see docs/performance.md
	$(BIN)/python -m bench

CORPORA ?= ../shared/detect/dev

model: $(VENV)/.training ## learn the classifier's model anew from the labelled mail in CORPORA=DIR
	$(BIN)/python -m bench.training.model $(CORPORA)

detection: $(VENV)/.training ## measure it beside SpamAssassin on mail it has not seen: the tables of docs/detection.md
	@if [ "$$(id -u)" = 0 ] && { [ "$$CI" = true ] || [ "$$PEERS" = install ]; }; then \
	  .ci/peers install spamassassin; fi
	$(BIN)/python -m bench.training.detection $(CORPORA)

clean: ## remove what tools left behind
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -exec rm -rf {} +

distclean: clean ## and the virtual environment
	rm -rf $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# Where atheris has no wheel the fuzzer goes on without, and says so.
$(VENV)/.fuzzing: $(VENV)/.dev requirements-fuzzing.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-fuzzing.lock \
	  && touch $@ || echo "atheris could not be installed; the next run tries again"

$(VENV)/.training: $(VENV)/.dev requirements-training.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-training.lock
	@touch $@
