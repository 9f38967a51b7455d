# Makes what people read from the summary: tables, figures, theory, audit, verdicts, the PDF report and the web page.
# Included by the Snakefile, whose names (ROOT, BASE_FILES, RESULTS, study) it uses.
OTHER_BASE = [path for path in [f"{BASE}-other-seed/model.safetensors"] if Path(path).is_file()]
REFERENCE = [path for path in [f"results/reference/{study.name}/summary.csv"] if Path(path).is_file()]
TABLES = ["headline", "table1", "table1_paper", "table2"]
PARTS = ["report", "data", "style", "answer", "method", "results", "discussion", "appendix"]  # of the PDF's source
# What several studies say together, and the published story of one cliff, where they are there.
TOLD = [
    path
    for path in ["results/finding/lead.json", "results/reference/finding/lead.json", f"{PUBLISHED}/story.json"]
    if Path(path).is_file()
]
config["answer"] = told_first(study)


# Snakemake's own report opens on this, given metadata: `make report`.
report: "captions/answer.rst"


FIGURES = ["learning_curves", "tradeoff", "cliffs", "pass_at_k"]
CAPTIONS = packaged("report/templates/captions.yaml")


rule tables:
    input:
        RESULTS,
        rules.summary.output,
        packaged("paper/reported.csv", "paper/hyperparameters.csv"),
        CAPTIONS,
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
        published=FLAG,
        code=code_hash("hdpo.report.tables"),
    shell:
        'hdpo tables "$STUDY" {params.published} > {log:q} 2>&1'


rule figures:
    input:
        RESULTS,
        rules.summary.output,
        packaged("paper/reported.csv"),
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
        published=FLAG,
        code=code_hash("hdpo.report.figures"),
    shell:
        'hdpo figures "$STUDY" {params.published} > {log:q} 2>&1'


rule gains:
    input:
        RESULTS,
        rules.summary.output,
        CAPTIONS,
    output:
        report(f"{ROOT}/gains.csv", category="Gains", caption="captions/gains.rst", labels={"table": "gains"}),
        report(f"{ROOT}/figures/gains.png", category="Gains", caption="captions/gains.rst", labels={"figure": "gains"}),
        f"{ROOT}/figures/gains.pdf",
        f"{ROOT}/gains_arms.csv",
        f"{ROOT}/gains.json",
        f"{ROOT}/gains.md",
    log:
        f"{ROOT}/logs/gains.log",
    params:
        published=FLAG,
        code=code_hash("hdpo.report.gains"),
    shell:
        'hdpo gains "$STUDY" {params.published} > {log:q} 2>&1'


rule theory:
    input:
        BASE_FILES,
        [ancient(path) for path in OTHER_BASE],
    output:
        report(
            f"{ROOT}/theory/theory.csv", category="Theory", caption="captions/theory.rst", labels={"table": "theory"}
        ),
        f"{ROOT}/theory/theory.md",
    log:
        f"{ROOT}/logs/theory.log",
    benchmark:
        f"{ROOT}/benchmarks/theory.tsv"
    priority: 2  # before the many short ones: no core waits for it at the end
    params:
        hash=study.base_hash,
        code=code_hash("hdpo.theory.checks"),
    shell:
        'hdpo theory "$STUDY" > {log:q} 2>&1'


rule audit:
    input:
        packaged("paper/reported.csv", "paper/claims.yaml"),
    output:
        report(f"{ROOT}/audit/audit.csv", category="Audit", caption="captions/audit.rst", labels={"table": "audit"}),
        f"{ROOT}/audit/audit.json",
        f"{ROOT}/audit/audit.md",
    log:
        f"{ROOT}/logs/audit.log",
    params:
        code=code_hash("hdpo.audit.audit"),
    shell:
        'hdpo audit "$STUDY" > {log:q} 2>&1'


rule statistics:
    input:
        RESULTS,
        rules.summary.output,
        packaged("paper/claims.yaml"),
        CAPTIONS,
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
    priority: 2
    params:
        published=FLAG,
        code=code_hash("hdpo.report.statistics"),
    shell:
        'hdpo statistics "$STUDY" {params.published} > {log:q} 2>&1'


rule check:
    input:
        REFERENCE,
        RESULTS,
        rules.summary.output,
        rules.theory.output,
        packaged("paper/reported.csv", "paper/claims.yaml", "paper/plan.yaml"),
    output:
        report(f"{ROOT}/check.csv", category="Verdicts", caption="captions/check.rst", labels={"table": "verdicts"}),
        f"{ROOT}/check.md",
        f"{ROOT}/check.json",
        f"{ROOT}/verdicts.md",
    log:
        f"{ROOT}/logs/check.log",
    priority: 2
    params:
        published=FLAG,
        code=code_hash("hdpo.claims.check"),
    shell:
        'hdpo check "$STUDY" {params.published} 2>&1 | tee {log:q}'


rule report:
    input:
        RESULTS,
        rules.check.output,
        rules.tables.output,
        rules.figures.output,
        rules.audit.output,
        rules.statistics.output,
        rules.gains.output,
        TOLD,
        packaged("paper/references.yml", *(f"paper/{name}.typ" for name in PARTS)),
        CAPTIONS,
    output:
        report(f"{ROOT}/report.pdf", category="Report", caption="captions/report.rst", labels={"form": "PDF"}),
        f"{ROOT}/report.json",
    log:
        f"{ROOT}/logs/report.log",
    params:
        published=FLAG,
        code=code_hash("hdpo.report.pdf"),
    shell:
        'hdpo report "$STUDY" {params.published} > {log:q} 2>&1'


rule page:
    input:
        RESULTS,
        rules.check.output,
        rules.tables.output,
        rules.figures.output,
        rules.audit.output,
        rules.statistics.output,
        rules.gains.output,
        TOLD,
        packaged(*(f"report/templates/page.{kind}" for kind in ("html", "css", "js"))),
        packaged(
            *(
                f"report/templates/{name}"
                for name in (
                    "questions.yaml",
                    "head.html",
                    "table.html",
                    "story.html",
                    "responses.html",
                    "samples.css",
                )
            )
        ),
        CAPTIONS,
    output:
        report(f"{ROOT}/summary.html", category="Report", caption="captions/report.rst", labels={"form": "web page"}),
    log:
        f"{ROOT}/logs/page.log",
    params:
        published=FLAG,
        code=code_hash("hdpo.report.web_page"),
    shell:
        'hdpo page "$STUDY" {params.published} > {log:q} 2>&1'
