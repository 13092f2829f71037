# The study in two commands: `make study` (set up, run, build the book) and `make test`.
#
#   make study PROFILE=smoke|quick|toy|desk    default: quick
#   make study PYTHON=/path/to/python3.12  when no suitable Python is found by itself
#
# The sweep itself is in Snakefile, the tools' settings are in pyproject.toml.

PROFILE ?= quick
CORES   ?= 2
PYTHON  ?=

BIN   := .venv/bin
STAMP := .venv/.locked

# What these name would be imported in place of what the lock installs.
unexport PYTHONPATH PYTHONHOME
# Without compiled modules every notebook would compile torch anew, ten seconds each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup study book test coverage lint format lock clean

help:
	@sed -n 's/^#: //p' $(MAKEFILE_LIST)

#: make setup   set up .venv from requirements.lock (done by the others when needed)
setup: $(STAMP)

#: make study   run a profile (PROFILE=smoke|quick|toy|desk) and build the book
study: $(STAMP)
	@$(BIN)/snakemake book $(SWEEP)
	@$(WHERE)

#: make book    build the book again from the pages that were executed
book: $(STAMP)
	@$(BIN)/python -m repro.book $(PROFILE)
	@$(WHERE)

#: make test    lint, type check, tests
test: lint
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n $(CORES) --dist loadfile --no-loadscope-reorder

#: make coverage  the tests once more, which lines they reach (half as long again)
coverage: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/pytest --cov -n $(CORES) --dist loadfile --no-loadscope-reorder

#: make lint    ruff and mypy, changing nothing
lint: $(STAMP)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

#: make format  let ruff repair and format what it can
format: $(STAMP)
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

#: make lock    resolve requirements.lock and environment.yml again (needs uv)
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --fork-strategy fewest --no-strip-extras --generate-hashes --no-header -q -o requirements.lock
	@$(MAKE) --no-print-directory setup
	$(BIN)/python -m repro.environment

#: make clean   remove what the sweep and the tools wrote; recorded runs and .venv stay
clean:
	rm -rf build .snakemake .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage

# Locks are off: one left by a killed process would block the next call, and runs are locked one by
# one in any case. A job that fails does not stop the others, and only it is redone.
SWEEP = --cores $(CORES) --config profile=$(PROFILE) --keep-going --rerun-incomplete --nolock \
  --quiet host reason

PAGE  = build/$(PROFILE)/book/index.html
WHERE = printf '\nThe book is at %s\n  %s\n' '$(PAGE)' 'file://$(subst $(space),%20,$(CURDIR))/$(PAGE)'

# The environment. The stamp goes first and comes back last, so a set-up that was interrupted has
# none: it is made anew, while a complete one is only brought up to date with the lock.
SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))

$(STAMP): requirements.lock pyproject.toml
	@if [ ! -e $@ ] || ! $(BIN)/python -c '$(SUITABLE)' 2>/dev/null; then rm -rf .venv; fi
	@rm -f $@
	@if command -v uv >/dev/null 2>&1; then $(WITH_UV); else $(WITH_PIP); fi
	@touch $@

# --no-build-isolation: the package itself is built with what the lock names, not with the latest.
define WITH_UV
set -e; echo "Setting up .venv with uv"; \
[ -d .venv ] || uv venv -q --python '$(or $(PYTHON),>=3.11$(comma)<3.14)' .venv; \
$(BIN)/python -c '$(SUITABLE)' || { $(TOO_OLD); }; \
uv pip sync --python $(BIN)/python --require-hashes requirements.lock; \
uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
endef

# uv installs the lock in a quarter of pip's time, so it comes first; pip does it where that fails.
define WITH_PIP
set -e; \
if [ ! -d .venv ]; then \
  for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
    "$$python" -c '$(SUITABLE)' >/dev/null 2>&1 && break; python=; \
  done; \
  [ -n "$$python" ] || { $(TOO_OLD); }; \
  echo "Setting up .venv with $$python"; \
  "$$python" -m venv .venv || { rm -rf .venv; echo "error: '$$python -m venv' failed; install" \
    "what it asks for (on Debian and Ubuntu: apt install python3-venv), or uv" >&2; exit 1; }; \
fi; \
pip="$(BIN)/python -m pip install --disable-pip-version-check"; \
index="$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null || true)}"; \
[ -z "$$index" ] || export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$index}"; \
sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.txt; \
if $$pip -q --only-binary :all: --require-hashes -r .venv/uv.txt \
  && $(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.lock; then :; else \
  echo "uv could not be used; pip takes some minutes"; \
  $$pip --require-hashes -r requirements.lock; \
fi; \
$$pip -q --no-deps --no-build-isolation -e .
endef

define TOO_OLD
echo "error: Python 3.11, 3.12 or 3.13 is needed;" \
  "$(or $(PYTHON),python3) is $$($(or $(PYTHON),python3) --version 2>&1 || true)." \
  "Install one, or name one: make $(or $(firstword $(MAKECMDGOALS)),study) PYTHON=python3.12" >&2; \
exit 1
endef

comma := ,
space := $() $()
