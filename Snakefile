# The whole study: base model → {GRPO} ∪ {HDPO: teacher × λ} × seeds → test → summary → report.
#
#   snakemake --cores all                                      the small world (config/small.yaml)
#   snakemake --cores all --config study=config/smoke.yaml     every stage in about two minutes
#   snakemake --cores all runs --config add="sft-0.1 rft-frozen-1"   these arms too, and no report
#
# The rules behind the summary (tables, figures, theory, audit, check, PDF, web page) are in paper/report.smk.
# Every rule declares the data that it reads and, as a parameter, a hash of the code that it runs (comments and
# docstrings do not count): an edit makes a stage again, and no other.
# Every rule calls the `hdpo` command, so you can run each stage by hand. It works in any folder: results go to
# results/ there, and the study's file may lie elsewhere (`snakemake --snakefile …/Snakefile --config study=…`).
# Training keeps its checkpoints in results/<name>/state/, which is not an output of any rule: after a kill the same
# command continues from there.
import shlex
from pathlib import Path

from hdpo.run.workflow import (
    added_runs,
    base_outcomes,
    explain_full_disk,
    extra_results,
    hold_study,
    identity,
    load_study_or_exit,
    packaged,
    tested_weights,
    told_first,
    wildcard,
)
from hdpo.study.identity import base_code
from hdpo.system.code import code_hash

config.setdefault("study", f"{workflow.basedir}/config/small.yaml")
study = load_study_or_exit(config["study"])  # no rule's input: hashes in params say what a changed study makes again
# A variable of the shell, not a parameter: another path to the same study makes nothing again.
shell.prefix(f"STUDY={shlex.quote(str(config['study']))}; ")
ROOT = str(study.root)
ADDED = added_runs(study, str(config.get("add", "")))
BASE = Path(study.base_path)
# What the `base` stage trains is an input of every run. Of any other base model, `params` hold the hash.
BASE_FILES = [ancient(BASE / "model.safetensors")] if study.model.path is None else []
PUBLISHED = f"results/reference/{study.name}"
NOTEBOOKS = [
    "01_a_real_cliff",
    "02_hdpo_from_scratch",
    "03_why_it_works",
    "04_the_finding",
    "05_reading_the_paper",
]


# Only used with `--software-deployment-method apptainer`: any image that has this package installed.
container: config.get("container", "docker://python:3.11")


wildcard_constraints:
    run=wildcard(["base", *study.runs, *ADDED]),
    seed=r"\d+",


onstart:
    hold_study(study)


onerror:
    explain_full_disk(study)


rule all:
    input:
        f"{ROOT}/report.pdf",
        f"{ROOT}/summary.html",


rule base:
    output:
        model=f"{study.built_base}/model.safetensors",
        provenance=f"{study.built_base}/provenance.json",
    log:
        f"{ROOT}/logs/base.log",
    benchmark:
        f"{ROOT}/benchmarks/base.tsv"
    threads: study.hardware.threads
    resources:
        gpu=study.hardware.gpus,
        runtime=study.hardware.minutes,
    params:
        hash=study.pretrain_hash,
        code=base_code(),
    shell:
        'hdpo base "$STUDY" --threads {threads} > {log:q} 2>&1'


rule train:
    input:
        BASE_FILES,
    output:
        metrics=f"{ROOT}/runs/{{run}}/seed{{seed}}/metrics.jsonl",
        evals=f"{ROOT}/runs/{{run}}/seed{{seed}}/evals.parquet",
        model=f"{ROOT}/runs/{{run}}/seed{{seed}}/model/model.safetensors",
        provenance=f"{ROOT}/runs/{{run}}/seed{{seed}}/run.json",
    log:
        f"{ROOT}/logs/train-{{run}}-seed{{seed}}.log",
    benchmark:
        f"{ROOT}/benchmarks/train-{{run}}-seed{{seed}}.tsv"
    priority: 1  # long jobs first; short ones fill the gaps at the end
    threads: study.hardware.threads
    resources:
        gpu=study.hardware.gpus,
        mem_mb=study.hardware.memory_mb,
        runtime=study.hardware.minutes,
    params:
        hash=identity(study),
    shell:
        # exec: a shell in between would die of a signal before the step is saved
        'exec hdpo train "$STUDY" --run {wildcards.run:q} --seed {wildcards.seed} > {log:q} 2>&1'


rule evaluate:
    input:
        tested_weights(study),
        base_outcomes(study),
    output:
        outcomes=f"{ROOT}/eval/{{run}}/seed{{seed}}.parquet",
        record=f"{ROOT}/eval/{{run}}/seed{{seed}}.json",
    log:
        f"{ROOT}/logs/evaluate-{{run}}-seed{{seed}}.log",
    benchmark:
        f"{ROOT}/benchmarks/evaluate-{{run}}-seed{{seed}}.tsv"
    threads: study.hardware.threads
    resources:
        gpu=study.hardware.gpus,
        mem_mb=study.hardware.memory_mb,
        runtime=study.hardware.minutes,
    params:
        hash=identity(study),
        test=(study.evaluate.test_samples, study.evaluate.conversion_samples, study.task.problems.test),
        code=study.evaluation_code,
    shell:
        'hdpo evaluate "$STUDY" --run {wildcards.run:q} --seed {wildcards.seed} > {log:q} 2>&1'


# What every stage below reads: outcomes and records of all runs, planned or made by hand; or the published ones.
RESULTS = [
    expand(rules.train.output, run=[*study.runs, *ADDED], seed=study.seeds),
    expand(rules.evaluate.output, run=[*study.runs, *ADDED], seed=study.seeds),
    expand(rules.evaluate.output, run="base", seed=0),
    extra_results(study),
]
REPEATS = []
if config.get("published"):
    from hdpo.claims.sources import FILES, published_sample  # here, as it loads pandas

    RESULTS = [f"{PUBLISHED}/{name}" for name in (*FILES, "published.json")]
    REPEATS = published_sample(study)
FLAG = "--published" if config.get("published") else ""


rule repeat:
    input:
        BASE_FILES,
        f"{PUBLISHED}/curves.parquet",
        f"{PUBLISHED}/published.json",
    output:
        f"{ROOT}/repeat/{{run}}-seed{{seed}}.json",
    log:
        f"{ROOT}/logs/repeat-{{run}}-seed{{seed}}.log",
    priority: 1
    threads: study.hardware.threads
    resources:
        gpu=study.hardware.gpus,
        mem_mb=study.hardware.memory_mb,
        runtime=study.hardware.minutes,
    params:
        hash=identity(study),
        steps=study.repeat.steps if study.repeat else 0,
    shell:
        'hdpo repeat "$STUDY" --run {wildcards.run:q} --seed {wildcards.seed} > {log:q} 2>&1'


# Every run and its test, and nothing that people read: for studies that one report draws together.
rule runs:
    input:
        RESULTS,


# A sample of the published evidence, trained again.
rule repeats:
    input:
        [f"{ROOT}/repeat/{run}-seed{seed}.json" for run, seed in REPEATS],
    output:
        f"{ROOT}/repeat/repeat.csv",
        f"{ROOT}/repeat/repeat.md",
    log:
        f"{ROOT}/logs/repeat.log",
    params:
        code=code_hash("hdpo.claims.repeat"),
    shell:
        'hdpo repeat "$STUDY" 2>&1 | tee {log:q}'


rule summary:
    input:
        RESULTS,
    output:
        f"{ROOT}/summary.csv",
    log:
        f"{ROOT}/logs/summary.log",
    priority: 2  # what the long ones below wait for
    params:
        published=FLAG,
        hash=study.identity,
        code=code_hash("hdpo.claims.summary"),
    shell:
        'hdpo summary "$STUDY" {params.published} > {log:q} 2>&1'


include: "paper/report.smk"


rule notebooks:  # in the repository only
    input:
        sources=expand("notebooks/src/{name}.py", name=NOTEBOOKS),
        results=expand("results/reference/{study}/published.json", study=["small-true", "small"]),
    output:
        expand("notebooks/{name}.ipynb", name=NOTEBOOKS),
    log:
        "results/notebooks.log",
    shell:
        "python notebooks/execute.py > {log:q} 2>&1"
