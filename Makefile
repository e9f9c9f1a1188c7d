# make demo        set everything up and run the main stages on the demo corpus (minutes; interrupt it when you like, it goes on)
# make demo-full   every table of the paper on the demo corpus (half an hour)
# make demo-openset     known or unknown source, GE2E, embeddings, tracing a file, on the demo corpus (minutes)
# make demo-verification   one source or two, enrolled sources, single cases and groups of files, on three languages of the demo corpus (minutes)
# make demo-robust   what survives codecs, telephones, noise and rooms, with and without such variants in training, on three languages (minutes)
# make awkward     every script on a small corpus of unequal sources, odd names and odd files (minutes)
# make demo-detection   real or fake: layers, mixtures and pruning of training data, on a demo corpus of its own (minutes)
# make test        set everything up and run the tests of every module (minutes)
# make test-all    also the slow ones: every family of encoders, clusters, compilers, browsers, whole pipelines
# make fuzz       10,000 random inputs through every door, others each time (SEED=<number> for the same ones)
# make test-gpu    the tests that need a CUDA device
# make benchmark    all that is timed on a CPU, one after the other, written to benchmarks/results and benchmarks/README.md (35 minutes at most, on an
#                  idle machine; WORDS=miniature shows in some minutes that it runs, and writes nothing)
# make benchmark-gpu    all that a GPU is for, timed, written to benchmarks/results (10 minutes; WORDS=miniature shows on any machine that it runs)
PYTHON ?= python3
CONFIG ?= configs/demo.yaml
TEST_WORKERS ?= 2
SEED ?= $(shell date +%s)
BIN := .venv/bin
# The numbered scripts in order; each says what it wrote and skips what is done. 03 (pseudo-speakers) is for Tables 2 and 6; `stages` runs
# it where a table of the experiment needs it, `all-stages` always.
STAGES ?= 01_download_resources 02_build_protocols 03_label_speakers 04_preprocess_dataset 05_train_matrix 06_get_classification_metrics \
          11_audit_shortcuts 13_make_tables
IF_NEEDED ?= --if-needed

# The order of the open-set experiments; metric learning has a trainer of its own.
OPENSET_STAGES := 01_download_resources 02_build_protocols 04_preprocess_dataset 05_train_matrix 06_get_classification_metrics
OPENSET_REPORTS := 07_ood_detector 08_generate_embeddings 09_visualize_embeddings 13_make_tables
VERIFICATION_STAGES := 01_download_resources 02_build_protocols 03_label_speakers 04_preprocess_dataset 05_train_matrix \
                       06_get_classification_metrics 10_verify_sources 13_make_tables
ROBUST_STAGES := 01_download_resources 02_build_protocols 04_preprocess_dataset 05_train_matrix 06_get_classification_metrics \
                 12_test_robustness 13_make_tables
# Of the demo corpus: French files of each vocoder, the first ones to enrol and others to judge.
FRENCH := data/demo/fake/fr
AWKWARD_STAGES := $(subst 11_,07_ood_detector 08_generate_embeddings 09_visualize_embeddings 10_verify_sources 11_,$(STAGES))
GE2E_SYSTEM ?= demo_ge2e
VERIFICATION_SYSTEM ?= lfcc_ecapa_tdnn
DETECTION_STAGES := 00_build_manifest 01_extract_layers 02_layer_sweep 03_augmented_baseline 04_dataset_mixing 05_pruning 06_augment_pruned \
                    07_report

.PHONY: demo demo-full demo-openset demo-verification demo-robust awkward demo-detection stages all-stages openset-stages detection-stages test test-all fuzz test-gpu benchmark benchmark-gpu lint clean-demo setup

demo: setup
	@$(MAKE) --no-print-directory stages CONFIG=configs/demo.yaml

demo-full: setup
	@$(MAKE) --no-print-directory all-stages CONFIG=configs/demo_full.yaml

demo-openset: setup
	@$(MAKE) --no-print-directory openset-stages CONFIG=configs/demo_openset.yaml
	@$(BIN)/python scripts/trace_audio.py 'data/demo/fake/fr/griffin_lim/*_0000[1-3].wav' 'data/demo/fake/fr/sinusoidal/*_0000[1-3].wav' \
	    --run "$$(ls -dt exp/demo_openset/runs/lfcc_ecapa_tdnn/*/ | head -1)" --csv exp/demo_openset/traced.csv --timeline exp/demo_openset/timelines

# Two vocoders that training never saw are enrolled from the first French files; the third is never enrolled. The run: the network.
demo-verification: setup
	@$(MAKE) --no-print-directory stages CONFIG=configs/demo_verification.yaml STAGES="$(VERIFICATION_STAGES)" IF_NEEDED=
	@set -e; out=exp/demo_verification; run="$$(ls -dt $$out/runs/$(VERIFICATION_SYSTEM)/*/ | head -1)"; rm -rf $$out/library; \
	for source in sinusoidal phase_vocoder; do \
	    $(BIN)/python scripts/enroll_source.py $$source "$(FRENCH)/$$source/*_000[01]?.wav" --run "$$run" --library $$out/library; done; \
	$(BIN)/python scripts/enroll_source.py --list --run "$$run" --library $$out/library; \
	$(BIN)/python scripts/trace_audio.py "$(FRENCH)/*/*_0002[0-1].wav" --run "$$run" --library $$out/library \
	    --csv $$out/traced.csv --report $$out/case.html --language fr; \
	set -- $(FRENCH)/sinusoidal/*_0002?.wav; $(BIN)/python scripts/compare_audio.py $$1 $$2 --run "$$run"; \
	$(BIN)/python scripts/compare_audio.py "$(FRENCH)/sinusoidal/*_0003?.wav" "$(FRENCH)/phase_vocoder/*_0003?.wav" --run "$$run"; \
	$(BIN)/python scripts/group_audio.py $(patsubst %,"$(FRENCH)/%/*_0003?.wav",sinusoidal phase_vocoder channel_vocoder) --run "$$run" \
	    --csv $$out/groups.csv --html $$out/groups.html

demo-robust: setup
	@$(MAKE) --no-print-directory stages CONFIG=configs/demo_robust.yaml STAGES="$(ROBUST_STAGES)"

awkward: setup
	@$(MAKE) --no-print-directory stages CONFIG=configs/awkward.yaml STAGES="$(AWKWARD_STAGES)"

demo-detection: setup
	@$(MAKE) --no-print-directory detection-stages CONFIG=configs/demo_detection.yaml

stages: setup
	@set -e; for stage in $(STAGES); do \
	    flag=""; case $$stage in 03_*) flag="$(IF_NEEDED)";; esac; \
	    $(BIN)/python scripts/$$stage.py $(CONFIG) $$flag; done

all-stages: setup
	@$(MAKE) --no-print-directory stages IF_NEEDED=

openset-stages: setup
	@$(MAKE) --no-print-directory stages STAGES="$(OPENSET_STAGES)"
	@$(BIN)/python train_ge2e.py $(CONFIG) system=$(GE2E_SYSTEM)
	@$(MAKE) --no-print-directory stages STAGES="$(OPENSET_REPORTS)"

detection-stages: setup
	@set -e; for stage in $(DETECTION_STAGES); do $(BIN)/python scripts/detection/$$stage.py $(CONFIG); done

test: setup
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile -m "not slow"

test-all: setup
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile

fuzz: setup
	@FUZZ_SEED=$(SEED) $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile tests/fuzz

test-gpu: setup
	@$(BIN)/python -m pytest -m gpu

benchmark: setup
	@$(BIN)/python benchmarks/all.py $(WORDS)

benchmark-gpu: setup
	@$(BIN)/python benchmarks/gpu.py $(WORDS)

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
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps resemblyzer==0.1.4
	@touch .venv/installed

clean-demo:
	rm -rf data/demo exp/demo
