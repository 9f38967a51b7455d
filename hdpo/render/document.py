"""Pages of tables as data: a title and sections, written as JSON and Markdown, read by the PDF and the web page."""

from dataclasses import asdict, dataclass
from pathlib import Path

from hdpo.render.table import Table, markdown_text, read_as, to_markdown, write_text
from hdpo.system.files import write_json


@dataclass(frozen=True)
class Section:
    """A title ("" for none), paragraphs of plain text, and tables below them."""

    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Document:
    """A titled page."""

    title: str
    sections: tuple[Section, ...]


def document_markdown(document: Document) -> str:
    parts = [f"# {markdown_text(document.title)}"]
    for section in document.sections:
        parts += [f"## {markdown_text(section.title)}"] if section.title else []
        parts += [*map(markdown_text, section.text), *map(to_markdown, section.tables)]
    return "\n\n".join(parts) + "\n"


def write_document(stem: Path, document: Document) -> None:
    """Write `stem`.json and `stem`.md."""
    write_json(stem.with_name(f"{stem.name}.json"), asdict(document))
    write_text(stem.with_name(f"{stem.name}.md"), document_markdown(document))


def read_document(path: Path) -> Document | None:
    """A document as `write_document` wrote it, None where the file is missing.

    Raises:
        UserError: the file is damaged, or of another version.
    """
    return read_as(Document, path, "a document") if path.exists() else None
