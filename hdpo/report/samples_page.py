"""Samples of a run as one HTML file that needs neither network nor server."""

from pathlib import Path

from hdpo.report.environment import environment, inline
from hdpo.report.samples import KINDS, LIMITS, Sampled
from hdpo.study.study import Study
from hdpo.system.files import write_atomic


def write_samples_page(path: Path, study: Study, title: str, samples: list[Sampled]) -> None:
    """Write the page. Texts of models are shown as text, whatever they hold."""
    css = inline("page.css", "samples.css")
    data = {"study": study.name, "title": title, "samples": samples, "kinds": KINDS, "limits": LIMITS, "css": css}
    text = environment().get_template("samples.html").render(data)
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
