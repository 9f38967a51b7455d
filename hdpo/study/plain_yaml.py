"""YAML of the kind that a study file needs: mappings, lists and plain values, each key once, in one small file.

Anchors can make a kilobyte mean a gigabyte, tags can name Python objects, and a key given twice silently means its
last value; a study needs none of them.
"""

import errno
import stat
from pathlib import Path
from typing import Any

import yaml

from hdpo.system.errors import UserError

MAX_BYTES = 100_000  # a study has about three thousand
MAX_NUMBER = 40  # characters


class _PlainLoader(yaml.SafeLoader):
    """Also refuses anchors, aliases, tags, keys given twice, and integers too long for any key of a study."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if event.anchor or getattr(event, "tag", None):
            raise yaml.composer.ComposerError(None, None, "anchors and tags are not for study files", event.start_mark)
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_NUMBER:
            raise yaml.composer.ComposerError(None, None, "an integer of that length fits no key", node.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        mapping, seen = super().construct_mapping(node, deep=deep), set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return mapping


def read_yaml(path: str | Path) -> Any:
    """The file's content as dictionaries, lists and plain values.

    Raises:
        UserError: no regular file, too large, not UTF-8, or not such YAML; names file and line.
    """
    try:
        found = Path(path).stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe or device could be read for ever
            raise OSError(errno.EINVAL, "not a regular file")
        if found.st_size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"larger than {MAX_BYTES} bytes")
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"config {path}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})") from error
    try:
        return yaml.load(text, Loader=_PlainLoader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"config {path}: not valid YAML ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    text = f"line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else " ".join(str(error).split())
    return text[:160]
