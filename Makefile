# Everything here sets itself up: the only prerequisites are Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# Some hundred processes start in a run of the tests: whatever the environment says, what is compiled is kept.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test chaos soak fuzz check fmt bench schema boards rules image clean

# Debian's python3 comes without ensurepip unless python3-venv is installed: then the system's pip fills the environment.
INSTALL = if [ -x $(BIN)/pip ]; then $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(1)]'; \
	else $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check -e '.[$(1)]'; fi

.venv/.serves: pyproject.toml  ## what serving needs
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gateway needs Python 3.11 or newer; set PYTHON=")'
	@echo 'making .venv, once'
	@$(PYTHON) -m venv .venv 2>/dev/null || $(PYTHON) -m venv --without-pip .venv
	@$(call INSTALL,embedded)
	@touch $@

.venv/.ready: .venv/.serves  ## and what working on it needs
	@echo 'adding what the tests need, once: about half a minute'
	@$(call INSTALL,dev)
	@touch $@

demo: .venv/.serves  ## the whole story on an embedded store; ARGS=--once runs its own checks and exits
	@$(BIN)/gateway demo $(ARGS)

test: .venv/.ready  ## all tests; what needs a system package that is missing skips by name
	@$(BIN)/pytest -n 3 --dist loadgroup $(ARGS)

chaos: .venv/.ready  ## what takes longer than a test may: real failovers, random kills, floods
	@$(BIN)/pytest -n 0 tests/chaos $(ARGS)

soak: .venv/.ready  ## an hour of mixed traffic: memory, descriptors and the store stay flat; ARGS='--minutes 15'
	@PYTHONPATH=tests $(BIN)/python tests/chaos/soak.py $(ARGS)

fuzz: .venv/.ready  ## every parser under random damage for two minutes; ARGS='--seconds 600 head' for longer, for some
	@$(BIN)/python tests/fuzz/long.py --seconds 120 $(ARGS)

check: .venv/.ready  ## lint, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

fmt: .venv/.ready
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

schema: .venv/.ready  ## write the committed JSON Schema and the generated reference pages anew
	@$(BIN)/python -m docs.generate

boards: .venv/.ready  ## write the committed Grafana boards anew
	@$(BIN)/python -m grafana.build

bench: .venv/.ready  ## against nginx, Envoy and a textbook gateway; peers that are missing are named and skipped
	@$(BIN)/python -m bench $(ARGS)

rules: .venv/.ready  ## write the rules for prometheus-operator anew, from grafana/alerts
	@$(BIN)/python docker/kubernetes/rules.py

image:  ## build the container image with docker, podman or buildah, and try it out; ARGS='--base debian' needs no registry
	@$(PYTHON) docker/image.py $(ARGS)

clean:
	rm -rf .venv
