# Makes what people read from the summary: tables, figures, theory, audit, verdicts, the PDF report and the web page.
# Included by the Snakefile, whose names (ROOT, STUDY, BASE_FILES, RESULTS, study) it uses.
OTHER_BASE = [path for path in [f"{BASE}-other-seed/model.safetensors"] if Path(path).is_file()]
REFERENCE = [path for path in [f"results/reference/{study.name}/summary.csv"] if Path(path).is_file()]
TABLES = ["headline", "table1", "table1_paper", "table2"]
PARTS = ["report", "data", "style", "method", "results", "discussion", "appendix"]  # of the PDF's source
FIGURES = ["learning_curves", "tradeoff", "cliffs", "pass_at_k"]
CAPTIONS = "hdpo/report/templates/captions.yaml"


rule tables:
    input:
        RESULTS,
        rules.summary.output,
        "hdpo/paper/reported.csv",
        "hdpo/paper/hyperparameters.csv",
        CAPTIONS,
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
    params:
        code=code_hash("hdpo.report.tables"),
    shell:
        "hdpo tables {input.study:q} > {log:q} 2>&1"


rule figures:
    input:
        RESULTS,
        rules.summary.output,
        "hdpo/paper/reported.csv",
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
    params:
        code=code_hash("hdpo.report.figures"),
    shell:
        "hdpo figures {input.study:q} > {log:q} 2>&1"


rule theory:
    input:
        BASE_FILES,
        [ancient(path) for path in OTHER_BASE],
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
        code=code_hash("hdpo.theory.checks"),
    shell:
        "hdpo theory {input.study:q} > {log:q} 2>&1"


rule audit:
    input:
        "hdpo/paper/reported.csv",
        "hdpo/paper/claims.yaml",
        study=STUDY,
    output:
        report(f"{ROOT}/audit/audit.csv", category="Audit", caption="captions/audit.rst", labels={"table": "audit"}),
        f"{ROOT}/audit/audit.json",
        f"{ROOT}/audit/audit.md",
    log:
        f"{ROOT}/logs/audit.log",
    params:
        code=code_hash("hdpo.audit.audit"),
    shell:
        "hdpo audit {input.study:q} > {log:q} 2>&1"


rule statistics:
    input:
        RESULTS,
        rules.summary.output,
        "hdpo/paper/claims.yaml",
        CAPTIONS,
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
    params:
        code=code_hash("hdpo.report.statistics"),
    shell:
        "hdpo statistics {input.study:q} > {log:q} 2>&1"


rule check:
    input:
        REFERENCE,
        RESULTS,
        rules.summary.output,
        rules.theory.output,
        "hdpo/paper/reported.csv",
        "hdpo/paper/claims.yaml",
        study=STUDY,
    output:
        report(f"{ROOT}/check.csv", category="Verdicts", caption="captions/check.rst", labels={"table": "verdicts"}),
        f"{ROOT}/check.md",
        f"{ROOT}/check.json",
        f"{ROOT}/verdicts.md",
    log:
        f"{ROOT}/logs/check.log",
    params:
        code=code_hash("hdpo.claims.check"),
    shell:
        "hdpo check {input.study:q} 2>&1 | tee {log:q}"


rule report:
    input:
        RESULTS,
        rules.check.output,
        rules.tables.output,
        rules.figures.output,
        rules.audit.output,
        rules.statistics.output,
        expand("hdpo/paper/{name}.typ", name=PARTS),
        "hdpo/paper/references.yml",
        CAPTIONS,
        study=STUDY,
    output:
        report(f"{ROOT}/report.pdf", category="Report", caption="captions/report.rst", labels={"form": "PDF"}),
        f"{ROOT}/report.json",
    log:
        f"{ROOT}/logs/report.log",
    params:
        code=code_hash("hdpo.report.pdf"),
    shell:
        "hdpo report {input.study:q} > {log:q} 2>&1"


rule page:
    input:
        RESULTS,
        rules.check.output,
        rules.tables.output,
        rules.figures.output,
        rules.audit.output,
        rules.statistics.output,
        expand("hdpo/report/templates/{name}", name=["page.html", "page.css", "page.js", "table.html"]),
        CAPTIONS,
        study=STUDY,
    output:
        report(f"{ROOT}/summary.html", category="Report", caption="captions/report.rst", labels={"form": "web page"}),
    log:
        f"{ROOT}/logs/page.log",
    params:
        code=code_hash("hdpo.report.web_page"),
    shell:
        "hdpo page {input.study:q} > {log:q} 2>&1"
