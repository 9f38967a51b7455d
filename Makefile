# make reproduce   the whole study of the small world: own environment, install, every run, tables, figures, verdicts
# make test        the tests
# make smoke       every stage of the workflow in under a minute
# make torture     kills, full disks, damaged files, hostile input: a table of what survived, in results/torture/
# make test-slurm  the Slurm profile on a real one-node cluster (root, Debian's slurm-wlm and munge)
# make lint        style of Python and Snakemake code
# make bench       beside TRL and generate(), beside what the machine can do: results/bench/<processor>/ (own environment for TRL)
# make test-vllm   rollouts by vLLM, tested for real on a CPU (own environment, Python 3.11 only)
# make bench-vllm  rollouts beside vLLM's (same environment)
# make notebooks   execute the notebooks again from notebooks/src/
# make base        train the small world's base model again (the committed one stands in for a download)
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORES ?= all
SNAKEMAKE = PATH="$(abspath $(BIN)):$$PATH" $(BIN)/snakemake --cores $(CORES)
# Python compiles a module when it first needs it; compiling all of them here would take a third of the installation.
PIP = $(BIN)/python -m pip install --quiet --no-compile
# Every training process uses the threads that its config gives it; libraries must not add their own.
export OMP_NUM_THREADS ?= 1

.PHONY: reproduce test test-slurm test-vllm torture smoke lint bench bench-vllm base report notebooks clean

reproduce: $(VENV)/installed
	$(SNAKEMAKE)

smoke: $(VENV)/installed
	$(SNAKEMAKE) --config study=config/smoke.yaml

base: $(VENV)/installed
	$(SNAKEMAKE) base

report: $(VENV)/installed
	$(SNAKEMAKE) --report results/small/report.html

notebooks: $(VENV)/installed-notebooks
	$(SNAKEMAKE) --forcerun notebooks -- notebooks

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

torture: $(VENV)/installed-dev
	$(BIN)/python tests/torture

test-slurm: $(VENV)/installed
	$(PIP) -c constraints.txt -e ".[slurm]"
	$(BIN)/python tests/slurm/prove.py

test-vllm: .venv-vllm/installed
	.venv-vllm/bin/python -m pytest tests/with_vllm

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile paper/report.smk
	$(BIN)/snakemake --lint

bench: $(VENV)/installed .venv-bench/installed
	$(BIN)/python -m benchmarks

bench-vllm: .venv-vllm/installed
	.venv-vllm/bin/python -W ignore -m benchmarks.rollouts

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("hdpo needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/installed

$(VENV)/installed-notebooks: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -c constraints.txt -e ".[notebooks]"
	touch $@ $(VENV)/installed

.venv-bench/installed: pyproject.toml constraints.txt benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet -c constraints.txt -r benchmarks/requirements.txt -e .
	touch $@

.venv-vllm/installed: pyproject.toml benchmarks/requirements-vllm.txt benchmarks/overrides-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet uv==0.13.8
	VIRTUAL_ENV=$(abspath .venv-vllm) UV_FIND_LINKS="$$PIP_FIND_LINKS" .venv-vllm/bin/uv pip install \
	  --index-strategy unsafe-best-match --overrides benchmarks/overrides-vllm.txt \
	  -r benchmarks/requirements-vllm.txt -e .
	touch $@

clean:
	rm -rf $(VENV) .snakemake results/small results/smoke
