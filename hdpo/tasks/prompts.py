"""Prompts of written problems: a filled template file becomes one user turn of the model's own chat template."""

import re
from pathlib import Path
from typing import Any

from hdpo.system.errors import UserError
from hdpo.tasks.config import Written

TEMPLATES = Path(__file__).parent / "templates"
SLOT = re.compile(r"\{(problem|answer|solution)\}")


def template_files(config: Written) -> dict[str, Path]:
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


def read_templates(config: Written) -> dict[str, str]:
    """The student's and the teacher's template.

    Raises:
        UserError: a template is missing, does not show the problem, or shows the student what only the teacher sees.
    """
    slots = {"student": {"problem"}, "teacher": {"problem", config.hint}}
    templates = {}
    for role, file in template_files(config).items():
        try:
            text = templates[role] = file.read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})") from error
        if set(SLOT.findall(text)) != slots[role]:
            wanted = " and ".join("{" + slot + "}" for slot in sorted(slots[role]))
            raise UserError(f"{file}: the {role}'s template must hold {wanted} and no other slot")
    return templates


def fill(template: str, **values: str) -> str:
    """Fill every slot of the template in one pass, so that a problem which contains {answer} stays as it is."""
    return SLOT.sub(lambda slot: values[slot[1]], template)


def chat_prompt(tokenizer: Any, content: str) -> str:
    """`content` as the user's turn, up to where the model's turn begins. Student and teacher get the same form.

    Raises:
        UserError: the tokenizer has no chat template.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            "model.path: its tokenizer has no chat template, which written problems need; take an instruct model"
        )
    turns = [{"role": "user", "content": content}]
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
