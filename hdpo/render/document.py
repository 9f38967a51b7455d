"""Pages of tables as data: a title and sections, written as JSON and Markdown, read by the PDF and the web page."""

from dataclasses import asdict, dataclass
from pathlib import Path

from hdpo.render.table import Table, markdown_text, parse_tables, to_markdown, write_text
from hdpo.system.errors import UserError
from hdpo.system.files import read_json, write_json


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
    if not path.exists():
        return None
    data = read_json(path)
    try:
        sections = tuple(
            Section(section["title"], tuple(section["text"]), parse_tables(path, section["tables"]))
            for section in data["sections"]
        )
        document = Document(data["title"], sections)
        texts = [document.title, *(text for part in sections for text in (part.title, *part.text))]
    except (TypeError, KeyError) as error:
        raise UserError(f"{path}: not a document of this version; write it again") from error
    if not all(isinstance(text, str) for text in texts):
        raise UserError(f"{path}: not a document of this version; write it again")
    return document
