"""The files that a math task reads beside its config: prompt templates and, where they are local, its data.

Kept apart from the tasks themselves, so that a run's identity can cover these files without loading anything.
"""

from pathlib import Path

from hdpo.system.errors import UserError
from hdpo.tasks.config import MathTask

TEMPLATES = Path(__file__).parent / "templates"
SUFFIXES = {".parquet": "parquet", ".jsonl": "json", ".json": "json"}  # and the `datasets` builder that reads them


def template_files(config: MathTask) -> dict[str, Path]:
    """The student's and the teacher's template: the kit's, or those of the folder `task.templates`.

    Raises:
        UserError: a template is missing.
    """
    folder = Path(config.templates) if config.templates else TEMPLATES
    files = {"student": folder / "student.txt", "teacher": folder / f"{config.hint}.txt"}
    for file in files.values():
        if not file.is_file():
            raise UserError(f"task.templates {folder}: no {file.name} there; copy one from {TEMPLATES}")
    return files


def is_local(config: MathTask) -> bool:
    """Whether `task.path` is a file or folder here rather than a name on the hub."""
    return config.path.startswith(("./", "../", "/", "~")) or Path(config.path).exists()


def data_files(config: MathTask, split: str) -> list[Path]:
    """Local files of one of the data set's own splits: `path` itself, or `split.*` and `split-*` in its folder.

    Raises:
        UserError: nothing there, or files of several kinds.
    """
    path = Path(config.path).expanduser()
    if path.is_file():
        files = [path]
    else:  # a plain folder, or a clone of the hub's repository
        found = (sorted(folder.glob(f"{split}[.-]*")) for folder in (path, path / "data", path / "main"))
        candidates = ([file for file in some if file.suffix in SUFFIXES] for some in found)
        files = next(filter(None, candidates), [])
    if not files or any(SUFFIXES.get(file.suffix) != SUFFIXES.get(files[0].suffix) for file in files):
        raise UserError(
            f"task.path {config.path}: no {split}.parquet, {split}.jsonl or {split}-*.parquet there"
            f" (one kind of file); give such a folder or a name on the hub"
        )
    if files[0].suffix not in SUFFIXES:
        raise UserError(f"task.path {config.path}: expected a .parquet, .jsonl or .json file")
    if not any(file.stat().st_size for file in files):
        raise UserError(f"task.path {config.path}: {files[0].name} is empty")
    return files


def read_files(config: MathTask) -> list[Path]:
    """Every file whose content decides what the task shows."""
    files = list(template_files(config).values())
    if is_local(config):
        files += [file for split in config.data_splits for file in data_files(config, split)]
    return files
