# make demo    set everything up and run every stage on the demo corpus (minutes; interrupt it when you like, it goes on)
# make test    set everything up and run the tests
PYTHON ?= python3
CONFIG ?= configs/demo.yaml
BIN := .venv/bin

.PHONY: demo demo-full stages test lint clean-demo setup

demo: setup
	@$(MAKE) --no-print-directory stages CONFIG=configs/demo.yaml

demo-full: setup
	@$(MAKE) --no-print-directory stages CONFIG=configs/demo_full.yaml

# The numbered scripts in order; each says what it wrote and skips what is done.
stages: setup
	@$(BIN)/python scripts/01_download_resources.py $(CONFIG)
	@$(BIN)/python scripts/02_build_protocols.py $(CONFIG)
	@$(BIN)/python scripts/04_preprocess_dataset.py $(CONFIG)
	@$(BIN)/python scripts/05_train_matrix.py $(CONFIG)
	@$(BIN)/python scripts/06_get_classification_metrics.py $(CONFIG)
	@$(BIN)/python scripts/08_make_tables.py $(CONFIG)

test: setup
	@$(BIN)/python -m pytest

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

setup: .venv/installed

# The marker is written last: an interrupted installation is repeated. It follows requirements.txt.
.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "setting up .venv (once; a few minutes, mostly torch) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch .venv/installed

clean-demo:
	rm -rf data/demo exp/demo
