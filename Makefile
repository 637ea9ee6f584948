.DEFAULT_GOAL := help
SHELL := bash
# `python -m`, not the scripts beside it: these stop working when the folder is moved.
PY := .venv/bin/python
COMPILE := $(PY) -m uv pip compile -q --system-certs --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

.PHONY: api approvals arch bench bench-short check clients console crash deps edge example fmt forks help install \
	interruptions late ledger screens lint lock run served shared soak spine storm storm-workers test turns types wires \
	workers

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Install the locked requirements into .venv; does nothing when they are there
	@set -euo pipefail; source backend/setup.sh; prepare dev

lock: install ## Resolve the requirements' .in files into the .txt files, with hashes, and look whether they are complete
	$(COMPILE) requirements-setup.in -o requirements-setup.txt
	$(COMPILE) requirements.in -o requirements.txt
	$(COMPILE) -c requirements.txt requirements-dev.in -o requirements-dev.txt
	$(PY) -m backend.tools.lock

fmt: install ## Format, and mend what can be mended
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

lint: install ## Check format and rules
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .

types: install ## Type-check code, tests and benchmarks; and the facade as a project without pydantic's plugin would
	$(PY) -m mypy backend benchmarks
	$(PY) -m mypy --config-file= --strict --cache-dir=.mypy_cache/adopters backend/utils/llm backend/tests/adopters_types.py

arch: install ## Check who may import whom
	$(PY) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

example: install ## Install the sample monolith from scratch on two Pythons, with locked and newest packages, and run its tests; a minute or two
	$(PY) -m backend.tools.example $(EXAMPLE)

spine: install ## Count what a call runs through, and what one has to read; ten seconds
	$(PY) -m backend.tools.spine

deps: install ## Look for undeclared and unused requirements
	$(PY) -m deptry .

test: install ## Run every test
	./backend/test.sh

check: lint types arch deps spine test bench-short ## Everything that CI checks

run: ## Start the service
	./backend/run.sh

bench: install ## Compare what calls cost with the clients underneath and with other routers; half an hour
	PYTHONPATH=. $(PY) -m benchmarks.calls

bench-short: install ## Measure the gates of performance; a minute and a half
	PYTHONPATH=. $(PY) -m benchmarks.gates

edge: install ## Measure what hostile requests cost the server; a minute
	PYTHONPATH=. $(PY) -m benchmarks.edge

wires: install ## Measure what each protocol costs by itself; ten seconds
	PYTHONPATH=. $(PY) -m benchmarks.wires

api: install ## Send requests that nobody would think of to every operation of the API, and look at the answers; some minutes
	PYTHONPATH=. $(PY) -m benchmarks.api

clients: install ## Let clients of others, from npm, ask the service; five minutes, and more when it installs them
	PYTHONPATH=. $(PY) -m benchmarks.clients

workers: install ## Measure how much more two workers answer than one; two minutes, on a quiet machine
	PYTHONPATH=. $(PY) -m benchmarks.workers

served: install ## Measure what the HTTP edge adds to the calls underneath; some minutes
	PYTHONPATH=. $(PY) -m benchmarks.served

turns: install ## Measure how long anything keeps the event loop from others; half a minute
	PYTHONPATH=. $(PY) -m benchmarks.turns

storm: install ## Make calls in every way for two minutes, in bad weather, and look whether what is promised holds
	PYTHONPATH=. $(PY) -m benchmarks.storm

storm-workers: install ## The same over four workers that share Valkey and PostgreSQL, which fail in turn; ten minutes
	PYTHONPATH=. $(PY) -m benchmarks.storm_of_workers

late: install ## Make 2,000 calls at once on a loop that is late by seconds, and look for a failure; a minute
	PYTHONPATH=. $(PY) -m benchmarks.late_loop

interruptions: install ## Raise something into calls at thousands of moments, and look for what is left of them; some minutes
	$(PY) -m pytest --hypothesis-profile=soak --timeout=3600 backend/tests/unit/llm/test_any_moment.py

crash: install ## Kill and stop a busy server again and again, and look for what is lost or paid for twice; some minutes
	PYTHONPATH=. $(PY) -m benchmarks.crash

console: install ## Measure each view of the console over a million attempts, on SQLite and PostgreSQL; some four minutes
	PYTHONPATH=. $(PY) -m benchmarks.console

screens: install ## Take pictures of every page of the console, where Chromium, node and npm are at hand; a minute
	PYTHONPATH=. $(PY) -m benchmarks.screens

ledger: install ## Kill workers and stop PostgreSQL, and look for rows that are missing or there twice; some ten minutes
	PYTHONPATH=. $(PY) -m benchmarks.ledger_spool
	PYTHONPATH=. $(PY) -m benchmarks.ledger_crash

approvals: install ## Approve calls from many processes at once, kill agents at every step, and look for what is done twice; some ten minutes
	PYTHONPATH=. $(PY) -m benchmarks.approvals

shared: install ## Let four processes share limits, kill some of them, and the servers; some twelve minutes
	PYTHONPATH=. $(PY) -m benchmarks.shared_state

forks: install ## Ask for answers in forked children, and fork while threads call; a minute or two
	PYTHONPATH=. $(PY) -m benchmarks.forks

soak: install ## Take forty times as many examples of each property, then call long and from many threads; half an hour or more
	$(PY) -m pytest -n auto --dist worksteal -m hypothesis --hypothesis-profile=soak --timeout=3600
	PYTHONPATH=. $(PY) -m benchmarks.forks
	PYTHONPATH=. $(PY) -m benchmarks.strangers
	PYTHONPATH=. $(PY) -m benchmarks.soak
