"""Shipped studies broken at random; `make torture` does this at length, and through Snakemake."""

from torture import config_fuzz


def test_mutated_studies_plan_or_are_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config_fuzz, "dry_run", lambda *_, **__: None)  # that is workflow/test_bad_input.py
    rows = config_fuzz.run(quick=True)
    assert sum(row["tries"] for row in rows) > 300
    assert [row["lost"] for row in rows] == ["nothing"] * len(rows)
