# Every target sets up what it needs; the second time that is quick.
VENV := .venv
PY := $(VENV)/bin/python
export PYTHONUNBUFFERED := 1
APT := apt-get install -y --no-install-recommends
# True where Node.js fits; else it says in one sentence what (its argument) is left out, and what to install.
NODE_FITS = $(PY) -m backend.stack.programs
PYTEST_FAST = $(PY) -m pytest -m "not slow and not chaos" -n 4 --dist loadfile
# What builds the web UI or starts a server or client on Node.js.
WITHOUT_NODE := --ignore=tests/browser \
	--deselect=tests/e2e/simulator/test_examples.py::test_socketio_on_node_passes \
	--deselect=tests/e2e/simulator/test_examples.py::test_what_node_says_it_sent_is_what_came_in \
	--deselect=tests/e2e/simulator/test_examples.py::test_node_without_recovery_loses_in_a_storm_what_it_says_it_did_not_send \
	--deselect=tests/e2e/stack/test_full.py::test_the_official_client_polls_upgrades_watches_and_resumes

.DEFAULT_GOAL := help
.PHONY: help setup demo test check audit fuzz serve observe alerts bench chaos chaos-short soak docs lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed frontend/dist/.built ## install what is locked, build the web UI

demo: setup ## run the main job on the embedded default, end with a verdict
	$(PY) cli.py simulate demo --json reports/demo.json --html reports/demo.html

test: setup $(VENV)/.browser $(VENV)/.prometheus ## run all fast tests (Python, JavaScript, browser)
	@if $(NODE_FITS) "Skipped: tests of the web UI, in browsers and on Node.js"; then \
		(cd frontend && npm test --silent) && $(PYTEST_FAST) $(ARGS); \
	elif [ -n "$$CI" ]; then \
		echo "CI is set: nothing may be skipped."; exit 1; \
	else \
		$(PYTEST_FAST) $(WITHOUT_NODE) $(ARGS); \
	fi

check: setup ## formatting, lint, types, import rules, generated files
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) -m backend.app.contracts.generate --check
	$(PY) -m backend.app.reference --check
	$(PY) -m dashboards.build --check

audit: setup ## known faults of dependencies: committed floors, and the databases that answer
	$(PY) -m tests.security.dependency_audit

fuzz: setup ## minutes of malformed input and of floods, beside honest neighbours
	$(PY) -m pytest -m slow -n 0 -s tests/fuzz tests/security $(ARGS)

serve: setup ## run one node on http://127.0.0.1:8000
	$(PY) cli.py serve

observe: setup $(VENV)/.prometheus ## the stack, Prometheus on it and a simulator loop; Ctrl-C stops all
	$(PY) cli.py up --observe

alerts: setup $(VENV)/.prometheus ## break things until each alert fires, and see that a clean run wakes nobody
	$(PY) -m pytest -m slow -n 0 tests/e2e/stack/test_alerts.py $(ARGS)

bench: setup ## fan-out side by side with its peers, writes reports/bench.json
	$(PY) -m loadtest.bench --json reports/bench.json

chaos: setup ## break things on purpose; the ledger judges
	$(PY) -m pytest -m chaos tests/chaos $(ARGS)

chaos-short: setup ## five of these faults, a few minutes
	VOUCHSTORM_CHAOS_SHORT=1 $(PY) -m pytest -m chaos tests/chaos -n 2 --maxschedchunk=1 $(ARGS)

soak: setup ## churn for SOAK_MINUTES (5), nothing may grow; writes reports/soak.json
	$(PY) -m pytest -m slow tests/soak $(ARGS)

docs: setup ## write the generated documents again
	$(PY) -m backend.app.contracts.generate
	$(PY) -m backend.app.reference
	$(PY) -m dashboards.build

lock: $(VENV)/.installed ## resolve the dependencies again, with hashes
	$(VENV)/bin/uv pip compile -q --generate-hashes --python-version 3.11 --universal --no-header \
		pyproject.toml -o requirements/run.txt
	$(VENV)/bin/uv pip compile -q --generate-hashes --python-version 3.11 --universal --no-header \
		--extra dev pyproject.toml -o requirements/dev.txt

clean: ## remove what the targets made, but not your data
	rm -rf $(VENV) frontend/dist frontend/node_modules reports build *.egg-info

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Vouchstorm needs Python 3.11 or newer."; exit 1; }
	python3 -m venv $(VENV) || { $(APT) python3-venv && python3 -m venv $(VENV); }
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

frontend/dist/.built: $(shell find frontend -path frontend/node_modules -prune -o -path frontend/dist -prune -o -type f -print 2>/dev/null) | $(VENV)/.installed
	@if $(NODE_FITS) "The web UI is not built, the service runs without"; then \
		cd frontend && npm ci --silent --no-audit --no-fund && npm run build --silent && touch dist/.built; \
	fi

$(VENV)/.browser: $(VENV)/.installed
	@command -v chromium >/dev/null || { apt-get update -qq && $(APT) chromium; } \
		|| echo "No Chromium: browser tests will say so."
	touch $@

$(VENV)/.prometheus: $(VENV)/.installed
	@command -v promtool >/dev/null || { apt-get update -qq && $(APT) prometheus; } \
		|| echo "No Prometheus: tests of rules and dashboards will say so."
	touch $@
