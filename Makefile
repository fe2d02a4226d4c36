# Frontdesk. `make` alone lists what there is to do. Needs Python 3.11 or newer, nothing else.

VENV ?= .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/installed-requirements.txt
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run screenshots test check style types floors migrations deployment fmt bench bench-marketplace bench-pipeline demo-reset venv

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: venv ## Start everything here, with demo data (PORT=8000, FRONTDESK_DATA=.data)
	@$(PYTHON) -m config.run

test: venv ## Run the tests (ARGS="-k words" for some of them)
	@$(PYTHON) -m pytest -n 2 --dist worksteal $(ARGS)

check: venv ## Check style, types, floors, migrations and deployment settings
	@$(MAKE) --keep-going --no-print-directory style types floors migrations deployment

style:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	find templates -name '*.html' -print0 | xargs -0 $(VENV)/bin/djade --check

types:
	$(PYTHON) -m mypy

floors:
	$(PYTHON) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' --no-logo

migrations:
	$(PYTHON) manage.py makemigrations --check --dry-run

deployment:
	PUBLIC_URL=https://desk.example.com BEHIND_TLS_PROXY=true SECRET_KEY="$$($(PYTHON) -c 'import secrets; print(secrets.token_hex(40))')" \
	  $(PYTHON) manage.py check --deploy --fail-level WARNING

fmt: venv ## Put code and templates in order
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
	find templates -name '*.html' -print0 | xargs -0 $(VENV)/bin/djade

bench: venv ## Measure how much this machine carries
	@$(PYTHON) -m bench $(ARGS)

bench-marketplace: venv ## Measure buying, browsing and files on five million leads (some minutes, 6 GB)
	@$(PYTHON) -m bench.marketplace $(ARGS)

bench-pipeline: venv ## Measure leads by API and the board of a business with a million leads (some minutes, 3 GB)
	@$(PYTHON) -m bench.pipeline $(ARGS)

screenshots: venv ## Take the pictures of the README anew (needs Debian's chromium)
	@$(PYTHON) docs/take_screenshots.py

demo-reset: venv ## Delete the demo businesses and make them anew (asks first; CONFIRM=yes does not)
	@if [ "$(CONFIRM)" != yes ]; then \
	  printf 'This deletes the demo businesses with their customers, texts and appointments. Type yes to go on: '; \
	  read -r answer && [ "$$answer" = yes ] || { echo 'Nothing was deleted.'; exit 1; }; \
	fi
	@$(PYTHON) manage.py demo_reset --yes

venv: $(INSTALLED)

# The packages of requirements.txt, installed again only when that file changed. Python 3.11 and 3.12 come first because
# the Redis that needs no installation exists for them.
$(INSTALLED): requirements.txt
	@for newest in 3.12 3.99; do for python in python3 python3.12 python3.11; do \
	  "$$python" -c "import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= tuple(map(int, '$$newest'.split('.'))))" \
	    2>/dev/null && break 2; python=; done; done; \
	[ -n "$$python" ] || { echo 'Frontdesk needs Python 3.11 or newer with venv (Debian: apt-get install python3-venv).'; exit 1; }; \
	echo "Installing the packages into $(VENV); this takes about a minute, once."; \
	"$$python" -m venv $(VENV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@cp requirements.txt $@
