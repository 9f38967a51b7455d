"""The web page of a study: one HTML file that holds everything it shows and needs neither network nor server."""

import base64
import io
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from hdpo.claims.claims import VERDICTS
from hdpo.render.formats import duration, thousands
from hdpo.render.table import write_text
from hdpo.report.content import report_data
from hdpo.report.environment import environment, inline
from hdpo.report.samples import LIMITS
from hdpo.report.story import Story, story_of
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.theory.statements import VERDICTS as THEORY_VERDICTS

COLOURS = 256  # of an embedded figure: plots have few, and a palette takes a third of the bytes


def write_page(study: Study) -> Path:
    """Write `<root>/summary.html`.

    Raises:
        UserError: a result or figure is damaged, or belongs elsewhere.
    """
    data, out = report_data(study), study.root / "summary.html"
    write_text(out, render(data, embedded_images(study, data), story_of(study)))
    return out


def render(data: dict[str, Any], images: dict[str, dict[str, Any]], story: Story | None = None) -> str:
    """The page from what `report_data` gives; `images` as from `embedded_images`."""
    config = yaml.safe_dump(data["config"], sort_keys=False, allow_unicode=True)
    page = environment(thousands=thousands, duration=duration).get_template("page.html")
    parts = {"css": inline("page.css", "samples.css"), "js": inline("page.js")}
    words = {"verdict_order": list(VERDICTS), "badges": {*VERDICTS, *THEORY_VERDICTS}, "config_text": config}
    shown = {"images": images, "story": story, "limits": LIMITS}
    return page.render(data | parts | words | shown)


def embedded_images(study: Study, data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Figures by stem: data URI, width and height in pixels.

    Raises:
        UserError: a figure is not an image.
    """
    pages = [page["figures"] for page in (data["audit"], data["statistics"]) if page]
    pages += [[data["finding"]["figure"]]] if data["finding"] else []
    stems = [figure["stem"] for figures in (data["figures"], *pages) for figure in figures if figure["there"]]
    return {stem: embedded_image(study.root / f"{stem}.png") for stem in stems}


def embedded_image(path: Path) -> dict[str, Any]:
    """A PNG as a data URI, on white and with a palette."""
    try:
        with Image.open(path) as image:
            source = image.convert("RGBA")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not an image; draw the figures again") from error
    flat = Image.new("RGB", source.size, "white")
    flat.paste(source, mask=source.getchannel("A"))
    buffer = io.BytesIO()
    flat.quantize(COLOURS, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"uri": f"data:image/png;base64,{text}", "width": flat.width, "height": flat.height}
