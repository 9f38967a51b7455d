"""What the Snakefile asks of a study."""

from hdpo.run.workflow import LINE, told_first
from hdpo.system.files import write_json
from helpers.synthetic import make_study


def test_snakemakes_own_report_opens_on_the_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = make_study(tmp_path)
    assert told_first(study) == {"text": [], "figure": [], "alt": ""}
    finding = {"text": ["It rises.", "a_b | *c*"], "figure": {"stem": "../finding/finding", "alt": "Points."}}
    write_json(study.root / "report.json", {"answer": "It rises.", "finding": finding})
    folder = study.root.parent / "finding"
    folder.mkdir()
    (folder / "finding.png").write_bytes(bytes(LINE))
    told = told_first(study)
    assert told["text"] == ["It rises.", r"a\_b \| \*c\*"] and told["alt"] == "Points."
    assert len(told["figure"]) == 2 and "".join(told["figure"]).startswith("data:image/png;base64,AAAA")
