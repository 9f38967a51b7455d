# From the summary to what people read: tables, figures, theory, audit, verdicts, the PDF report and the web page.
# Included by the Snakefile, whose names (ROOT, STUDY, BASE_FILES, study) it uses.
TABLES = ["headline", "table1", "table1_paper", "table2"]
PARTS = ["report", "data", "style", "method", "results", "discussion", "appendix"]  # of the PDF's source
FIGURES = ["learning_curves", "tradeoff", "cliffs", "pass_at_k"]


rule tables:
    input:
        rules.summary.output,
        "paper/reported.csv",
        "config/paper.yaml",
        study=STUDY,
    output:
        [
            report(
                f"{ROOT}/tables/{name}.csv", category="Tables", caption="captions/tables.rst", labels={"table": name}
            )
            for name in TABLES
        ],
        expand(f"{ROOT}/tables/{{table}}.{{kind}}", table=TABLES, kind=["json", "md", "tex"]),
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
        [
            report(
                f"{ROOT}/figures/{name}.png",
                category="Figures",
                caption="captions/figures.rst",
                labels={"figure": name},
            )
            for name in FIGURES
        ],
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
        report(
            f"{ROOT}/theory/theory.csv", category="Theory", caption="captions/theory.rst", labels={"table": "theory"}
        ),
        f"{ROOT}/theory/theory.md",
    log:
        f"{ROOT}/logs/theory.log",
    benchmark:
        f"{ROOT}/benchmarks/theory.tsv"
    params:
        hash=study.base_hash,
    shell:
        "hdpo theory {input.study:q} > {log:q} 2>&1"


rule audit:
    input:
        "paper/reported.csv",
        "paper/claims.yaml",
        study=STUDY,
    output:
        report(f"{ROOT}/audit/audit.csv", category="Audit", caption="captions/audit.rst", labels={"table": "audit"}),
        f"{ROOT}/audit/audit.json",
        f"{ROOT}/audit/audit.md",
    log:
        f"{ROOT}/logs/audit.log",
    shell:
        "hdpo audit {input.study:q} > {log:q} 2>&1"


rule statistics:
    input:
        rules.summary.output,
        "paper/claims.yaml",
        study=STUDY,
    output:
        report(
            f"{ROOT}/statistics.csv",
            category="Robustness",
            caption="captions/statistics.rst",
            labels={"table": "runs"},
        ),
        f"{ROOT}/statistics.json",
        f"{ROOT}/statistics.md",
        f"{ROOT}/statistics_claims.csv",
    log:
        f"{ROOT}/logs/statistics.log",
    shell:
        "hdpo statistics {input.study:q} > {log:q} 2>&1"


rule check:
    input:
        rules.summary.output,
        rules.theory.output,
        "paper/reported.csv",
        "paper/claims.yaml",
        study=STUDY,
    output:
        report(f"{ROOT}/check.csv", category="Verdicts", caption="captions/check.rst", labels={"table": "verdicts"}),
        f"{ROOT}/check.md",
        f"{ROOT}/check.json",
        f"{ROOT}/verdicts.md",
    log:
        f"{ROOT}/logs/check.log",
    shell:
        "hdpo check {input.study:q} 2>&1 | tee {log:q}"


rule report:
    input:
        rules.check.output,
        rules.tables.output,
        rules.figures.output,
        rules.audit.output,
        rules.statistics.output,
        expand("paper/{name}.typ", name=PARTS),
        "paper/references.yml",
        study=STUDY,
    output:
        report(f"{ROOT}/report.pdf", category="Report", caption="captions/report.rst", labels={"form": "PDF"}),
        f"{ROOT}/report.json",
    log:
        f"{ROOT}/logs/report.log",
    shell:
        "hdpo report {input.study:q} > {log:q} 2>&1"


rule page:
    input:
        rules.check.output,
        rules.tables.output,
        rules.figures.output,
        rules.audit.output,
        rules.statistics.output,
        expand("hdpo/report/templates/page.{kind}", kind=["html", "css", "js"]),
        study=STUDY,
    output:
        report(f"{ROOT}/summary.html", category="Report", caption="captions/report.rst", labels={"form": "web page"}),
    log:
        f"{ROOT}/logs/page.log",
    shell:
        "hdpo page {input.study:q} > {log:q} 2>&1"
