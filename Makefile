# Five commands, all thin. Each one sets up what it needs by itself, on a fresh Debian 12 with Python 3.11 and make.
#   make run     a whole mail system to play with, on this computer only (posthouse try)
#   make test    everything: format, lint, types, all tests, with the real mail programs
#   make check   the same without the system tests: a minute and a half on two free cores
#   make fix     put the code in form
#   make bench   the benchmarks, side by side with Postfix and Dovecot where they are installed

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed.stamp
PROCESSES ?= 2

# Commands that the system tests drive, and the Debian packages that bring them.
CLIENTS := swaks msmtp mbsync mutt fetchmail getmail mpop curl gsasl tmux nsd unbound postfix slapd ldapmodify postgres dkimverify opendkim
CLIENT_PACKAGES := swaks libnet-ssleay-perl msmtp isync mutt fetchmail getmail6 mpop libsasl2-modules curl gsasl tmux ca-certificates nsd unbound postfix slapd ldap-utils postgresql python3-dkim python3-nacl opendkim

.PHONY: run test check fix bench clients lint

run: $(STAMP)
	$(BIN)/posthouse try

test: $(STAMP) clients lint
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadgroup

check: $(STAMP) lint
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadgroup --ignore tests/system

fix: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python bench/run.py

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict

# Debian's python3 comes without ensurepip; then the system's pip fills the environment.
$(STAMP): pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip $(VENV)
	if test -x $(BIN)/pip; then pip="$(BIN)/python -m pip"; else pip="$(PYTHON) -m pip --python $(BIN)/python"; fi; \
	PIP_CONSTRAINT=requirements.lock $$pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(STAMP)

clients:
	@missing=$$(PATH="$$PATH:/usr/sbin:$$(echo /usr/lib/postgresql/*/bin | tr ' ' :)"; for c in $(CLIENTS); do command -v $$c >/dev/null || echo $$c; done); \
	if test -z "$$missing"; then exit 0; fi; \
	if test "$$(id -u)" = 0; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(CLIENT_PACKAGES); \
	else \
		echo "The system tests drive these programs, which are not here:" $$missing; \
		echo "Install them with:  sudo apt-get install --no-install-recommends $(CLIENT_PACKAGES)"; exit 1; \
	fi
