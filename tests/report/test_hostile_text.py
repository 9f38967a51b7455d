"""What reports show is text: no file from elsewhere, and no markup of a study, gets into them."""

import html
from pathlib import Path

import pytest

from hdpo.report.pdf import write_pdf
from hdpo.report.tables import write_tables
from hdpo.report.web_page import write_page
from hdpo.study.study import load_study
from hdpo.system.errors import UserError
from helpers.studies import write_study


def test_a_page_embeds_no_image_from_elsewhere(enter_copy, reported_folder):
    study = enter_copy(reported_folder)
    source = next((study.root / "figures").glob("*.png"))
    for name in ("private.png", "private.pdf"):
        Path(name).write_bytes(source.read_bytes())
    for kind in ("png", "pdf"):
        (study.root / "audit" / f"private.{kind}").symlink_to(Path(f"private.{kind}").absolute())
    for write in (write_page, write_pdf):
        with pytest.raises(UserError, match=r"private\.png: outside results"):
            write(study)


def test_a_hostile_model_path_is_text_in_every_form(tmp_path, monkeypatch):
    path = r"./<script>alert(1)</script> \input x $x$ #panic() *b* | % & _ ~ ^"
    monkeypatch.chdir(tmp_path)
    study = load_study(write_study(tmp_path, name="shown", model__path=path, pretrain=None))
    write_tables(study)
    shown = r"/script\textgreater{} \textbackslash{}input x \$x\$ \#panic() *b* \textbar{} \% \& \_ \textasciitilde{}"
    assert shown in (study.root / "tables/table2.tex").read_text()
    text = write_page(study).read_text()
    assert "<script>alert" not in text and html.escape("<script>alert(1)</script>") in text
    assert write_pdf(study).read_bytes().startswith(b"%PDF")
