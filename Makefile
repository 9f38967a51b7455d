# make reproduce   train a sample of the reference runs again and compare, then all tables, figures and verdicts from
#                  the published results: about twelve minutes on two cores
# make evidence    train every run of the reference studies, the map and the controls, or go on with it: many hours
# make cliff-bench train every method of the bench, or go on with it: hours; ADD="name" enters a method of your own
# make smoke       run every stage of the workflow in about two minutes
# make test        run the quick tests
# make test-all    run the slow tests as well
# make lint        check style, types and the layers of the package
# make torture     kill processes, fill disks, damage files, feed hostile input: results/torture/ says what survived
# make test-slurm  test the Slurm profile on a real one-node cluster (needs root, Debian's slurm-wlm and munge)
# make test-vllm   test rollouts by vLLM on a CPU (builds its own environment, needs Python 3.11)
# make test-trl    test HDPOTrainer, the trainer for TRL (builds its own environment)
# make bench       measure speed beside TRL and beside the machine's limits: results/bench/<processor>/ (own environment)
# make bench-vllm  measure rollouts beside vLLM's (same environment as test-vllm)
# make docs        build the documentation to build/docs/ and check links, code and numbers
# make notebooks   execute the notebooks again from notebooks/src/
# make base        train the small world's base model again (a trained one is committed)
# make power       write paper/power.md again: the power of the reference study, from development seeds
# make report      write Snakemake's own report of a finished study
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORES ?= all
SNAKEMAKE = PATH="$(abspath $(BIN)):$$PATH" $(BIN)/snakemake --cores $(CORES)
# Python compiles each module on first use; compiling all of them now would add half to the time of installation.
PIP = $(BIN)/python -m pip install --quiet --no-compile
# The study file sets the number of threads of each training process; libraries must not start more.
export OMP_NUM_THREADS ?= 1

PYTEST = $(BIN)/python -m pytest --numprocesses auto --dist loadfile

.PHONY: reproduce evidence cliff-bench test test-all test-slurm test-vllm test-trl torture smoke lint bench bench-vllm base power report notebooks docs clean

STUDIES = small-true small
MAP = $(sort $(wildcard config/map/*.yaml))
CONTROLS = $(sort $(wildcard config/controls/*.yaml))
BENCH = $(sort $(wildcard config/bench/*.yaml))

reproduce: $(VENV)/installed
	for study in $(STUDIES); do \
	  $(SNAKEMAKE) repeats check tables figures gains statistics --config study=config/$$study.yaml published=1 || exit; \
	done
	$(BIN)/hdpo finding $(STUDIES:%=config/%.yaml) --published
	for study in $(STUDIES); do $(SNAKEMAKE) all --config study=config/$$study.yaml published=1 || exit; done

evidence: $(VENV)/installed
	for study in $(STUDIES); do $(SNAKEMAKE) check --config study=config/$$study.yaml || exit; done
	$(BIN)/hdpo finding $(STUDIES:%=config/%.yaml)
	for study in $(STUDIES); do $(SNAKEMAKE) all --config study=config/$$study.yaml || exit; done
	for study in $(MAP) $(CONTROLS); do $(SNAKEMAKE) runs --config study=$$study || exit; done
	$(BIN)/hdpo map $(MAP)
	$(BIN)/hdpo controls $(CONTROLS)

cliff-bench: $(VENV)/installed
	$(if $(BENCH),,$(error config/bench/ holds no study yet: the bench is planned after its tuning, config/bench-*-dev.yaml))
	for study in $(BENCH); do $(SNAKEMAKE) runs --config study=$$study add="$(ADD)" || exit; done
	$(BIN)/hdpo compare $(BENCH)

smoke: $(VENV)/installed
	$(SNAKEMAKE) --config study=config/smoke.yaml

base: $(VENV)/installed
	$(SNAKEMAKE) base

report: $(VENV)/installed
	$(SNAKEMAKE) --report results/small/report.html --report-metadata paper/captions/opening.yaml

power: $(VENV)/installed
	sed '/^Study/,$$d' paper/power.md > paper/power.tmp
	$(BIN)/hdpo power config/small-dev.yaml --seeds 20 --problems 2048 >> paper/power.tmp
	echo >> paper/power.tmp
	$(BIN)/hdpo power config/small-true-dev.yaml --seeds 20 --problems 2048 >> paper/power.tmp
	mv paper/power.tmp paper/power.md

notebooks: $(VENV)/installed-notebooks
	$(SNAKEMAKE) --forcerun notebooks -- notebooks

docs: $(VENV)/installed-docs
	rm -rf build/docs
	$(BIN)/python -m sphinx --quiet --fresh-env --fail-on-warning --keep-going docs build/docs
	$(BIN)/python -m pytest -rs tests/docs

test: $(VENV)/installed-dev
	$(PYTEST) -m "not slow and not pretrained"

test-all: $(VENV)/installed-dev
	$(PYTEST)

torture: $(VENV)/installed-dev
	$(BIN)/python tests/torture

test-slurm: $(VENV)/installed
	$(PIP) -c constraints.txt -e ".[slurm]"
	$(BIN)/python tests/slurm/prove.py

test-vllm: .venv-vllm/installed
	.venv-vllm/bin/python -m pytest tests/with_vllm

test-trl: .venv-trl/installed
	.venv-trl/bin/python -m pytest tests/with_trl

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile paper/report.smk
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: $(VENV)/installed .venv-bench/installed
	$(BIN)/python -m benchmarks

bench-vllm: .venv-vllm/installed
	.venv-vllm/bin/python -W ignore -m benchmarks.rollouts

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("hdpo needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -c constraints.txt -e ".[all]"
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -c constraints.txt -e ".[all,dev]"
	touch $@ $(VENV)/installed

$(VENV)/installed-notebooks: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -c constraints.txt -e ".[all,notebooks]"
	touch $@ $(VENV)/installed

$(VENV)/installed-docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -c constraints.txt -e ".[all,docs]"
	touch $@ $(VENV)/installed

.venv-bench/installed: pyproject.toml constraints.txt benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet -c constraints.txt -r benchmarks/requirements.txt -e ".[all]"
	touch $@

.venv-trl/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-trl
	.venv-trl/bin/python -m pip install --quiet -c constraints.txt -e ".[all,dev,trl]"
	touch $@

.venv-vllm/installed: pyproject.toml benchmarks/requirements-vllm.txt benchmarks/overrides-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet uv==0.13.8
	VIRTUAL_ENV=$(abspath .venv-vllm) UV_FIND_LINKS="$$PIP_FIND_LINKS" .venv-vllm/bin/uv pip install \
	  --index-strategy unsafe-best-match --overrides benchmarks/overrides-vllm.txt \
	  -r benchmarks/requirements-vllm.txt -e ".[all]"
	touch $@

clean:
	rm -rf $(VENV) .snakemake results/small results/smoke
