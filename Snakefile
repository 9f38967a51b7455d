# The whole study: base model → {GRPO} ∪ {HDPO: teacher × λ} × seeds → test → summary → tables, figures → check.
#
#   snakemake --cores all                                      the small world (config/small.yaml)
#   snakemake --cores all --config study=config/smoke.yaml     every stage in under a minute
#
# Every rule calls the `hdpo` command, so each stage also runs by hand. Training keeps its checkpoints in
# results/<name>/state/, which is no output of any rule: after a kill the same command goes on from there.
from pathlib import Path

from hdpo.config import load_study_or_exit

config.setdefault("study", "config/small.yaml")
study = load_study_or_exit(config["study"])
STUDY = ancient(config["study"])  # params carry its hashes: they decide what runs again, not the file's time
ROOT = str(study.root)
BASE = Path(study.base_path)
# A local base model is an input of every run; a hub name is resolved by transformers.
BASE_FILES = [ancient(BASE / "model.safetensors")] if study.base_is_local else []
TABLES = ["headline", "table1", "table1_paper", "table2"]
FIGURES = ["learning_curves", "tradeoff", "cliffs", "pass_at_k"]
NOTEBOOKS = ["01_cliff", "02_proposition_1", "03_proposition_2", "04_small_world"]


# Used with `--software-deployment-method apptainer` only: any image in which this package is installed.
container: config.get("container", "docker://python:3.11")


wildcard_constraints:
    run="|".join(["base", *study.runs]),
    seed=r"\d+",


def run_hash(wildcards):
    """Identity of a run's config: a changed value retrains the runs that it touches, and no other."""
    if wildcards.run == "base":
        return study.base_hash
    return study.run(wildcards.run, int(wildcards.seed)).hash


def evaluated_model(wildcards):
    """The weights to test: a run's final ones, or the base model's."""
    if wildcards.run == "base":
        return BASE_FILES
    return expand(rules.train.output.model, **wildcards)


rule all:
    input:
        f"{ROOT}/check.md",
        f"{ROOT}/theory/theory.md",
        expand(f"{ROOT}/tables/{{table}}.md", table=TABLES),
        expand(f"{ROOT}/figures/{{figure}}.png", figure=FIGURES),


rule base:
    input:
        study=STUDY,
    output:
        model=f"{study.built_base}/model.safetensors",
        provenance=f"{study.built_base}/provenance.json",
    log:
        f"{ROOT}/logs/base.log",
    benchmark:
        f"{ROOT}/benchmarks/base.tsv"
    threads: study.hardware.threads
    params:
        hash=study.pretrain_hash,
    shell:
        "hdpo base {input.study:q} --threads {threads} > {log:q} 2>&1"


rule train:
    input:
        BASE_FILES,
        study=STUDY,
    output:
        metrics=f"{ROOT}/runs/{{run}}/seed{{seed}}/metrics.jsonl",
        evals=f"{ROOT}/runs/{{run}}/seed{{seed}}/evals.parquet",
        model=f"{ROOT}/runs/{{run}}/seed{{seed}}/model/model.safetensors",
        provenance=f"{ROOT}/runs/{{run}}/seed{{seed}}/run.json",
    log:
        f"{ROOT}/logs/train-{{run}}-seed{{seed}}.log",
    benchmark:
        f"{ROOT}/benchmarks/train-{{run}}-seed{{seed}}.tsv"
    threads: study.hardware.threads
    resources:
        gpu=study.hardware.gpus,
        mem_mb=study.hardware.memory_mb,
    params:
        hash=run_hash,
    shell:
        "hdpo train {input.study:q} --run {wildcards.run} --seed {wildcards.seed} > {log:q} 2>&1"


rule evaluate:
    input:
        evaluated_model,
        study=STUDY,
    output:
        outcomes=f"{ROOT}/eval/{{run}}/seed{{seed}}.parquet",
    log:
        f"{ROOT}/logs/evaluate-{{run}}-seed{{seed}}.log",
    benchmark:
        f"{ROOT}/benchmarks/evaluate-{{run}}-seed{{seed}}.tsv"
    threads: study.hardware.threads
    resources:
        gpu=study.hardware.gpus,
        mem_mb=study.hardware.memory_mb,
    params:
        hash=run_hash,
        test=(study.evaluate.test_samples, study.task.problems.test),
    shell:
        "hdpo evaluate {input.study:q} --run {wildcards.run} --seed {wildcards.seed} > {log:q} 2>&1"


rule summary:
    input:
        expand(rules.train.output, run=study.runs, seed=study.seeds),
        expand(rules.evaluate.output, run=study.runs, seed=study.seeds),
        f"{ROOT}/eval/base/seed0.parquet",
        study=STUDY,
    output:
        f"{ROOT}/summary.csv",
    log:
        f"{ROOT}/logs/summary.log",
    params:
        hash=study.identity,
    shell:
        "hdpo summary {input.study:q} > {log:q} 2>&1"


rule tables:
    input:
        rules.summary.output,
        "paper/reported.csv",
        "config/paper.yaml",
        study=STUDY,
    output:
        report(
            expand(f"{ROOT}/tables/{{table}}.csv", table=TABLES),
            category="Tables",
            caption="paper/captions/tables.rst",
        ),
        expand(f"{ROOT}/tables/{{table}}.{{kind}}", table=TABLES, kind=["md", "tex"]),
    log:
        f"{ROOT}/logs/tables.log",
    shell:
        "hdpo tables {input.study:q} > {log:q} 2>&1"


rule figures:
    input:
        rules.summary.output,
        "paper/reported.csv",
        "hdpo/report/figures.py",
        study=STUDY,
    output:
        report(
            expand(f"{ROOT}/figures/{{figure}}.png", figure=FIGURES),
            category="Figures",
            caption="paper/captions/figures.rst",
        ),
        expand(f"{ROOT}/figures/{{figure}}.pdf", figure=FIGURES),
    log:
        f"{ROOT}/logs/figures.log",
    shell:
        "hdpo figures {input.study:q} > {log:q} 2>&1"


rule theory:
    input:
        BASE_FILES,
        study=STUDY,
    output:
        report(f"{ROOT}/theory/theory.csv", category="Theory", caption="paper/captions/theory.rst"),
        f"{ROOT}/theory/theory.md",
    log:
        f"{ROOT}/logs/theory.log",
    benchmark:
        f"{ROOT}/benchmarks/theory.tsv"
    params:
        hash=study.base_hash,
    shell:
        "hdpo theory {input.study:q} > {log:q} 2>&1"


rule check:
    input:
        rules.summary.output,
        rules.theory.output,
        "paper/reported.csv",
        "paper/claims.yaml",
        study=STUDY,
    output:
        report(f"{ROOT}/check.csv", category="Verdicts", caption="paper/captions/check.rst"),
        f"{ROOT}/check.md",
        f"{ROOT}/check.json",
        f"{ROOT}/verdicts.md",
    log:
        f"{ROOT}/logs/check.log",
    shell:
        "hdpo check {input.study:q} 2>&1 | tee {log:q}"


rule notebooks:
    input:
        sources=expand("notebooks/src/{name}.py", name=NOTEBOOKS),
        results="results/reference/small/check.csv",
    output:
        expand("notebooks/{name}.ipynb", name=NOTEBOOKS),
    log:
        "results/notebooks.log",
    shell:
        "python notebooks/execute.py > {log:q} 2>&1"
