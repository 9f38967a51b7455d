"""Which files are read as a study at all: plain YAML, small, each key once."""

import pytest

from hdpo.study.plain_yaml import MAX_BYTES, read_yaml
from hdpo.study.study import load_study
from hdpo.system.errors import UserError


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", "a: !!python/object/apply:os.system ['true']", "\x00"])
def test_files_that_are_no_study(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"config .*study\.yaml"):
        load_study(path)


def test_missing_binary_and_large_files(tmp_path):
    for path, content in (("none", None), ("binary", b"\xff\xfe\x00"), ("large", b"#" * (MAX_BYTES + 1))):
        if content is not None:
            (tmp_path / path).write_bytes(content)
        with pytest.raises(UserError, match=rf"{path}: cannot be read"):
            read_yaml(tmp_path / path)
    (tmp_path / "largest").write_bytes(b"#" * MAX_BYTES)
    assert read_yaml(tmp_path / "largest") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\nname: b\n", r"line 2: 'name' is given twice"),
        ("a: {b: 1, c: {d: 1, d: 2}}\n", r"line 1: 'd' is given twice"),
        ("a: &x 1\nb: *x\n", r"line 1: anchors and tags"),
        ("a: !!python/object/apply:os.system ['touch pwned']\n", r"line 1: anchors and tags"),
        ("a: !!bool x\n", r"line 1: anchors and tags"),
        ("a: 0x" + "f" * 5000, r"line 1: an integer of that length"),
        ("a: " + "[" * 9000, r"not valid YAML"),
        ("a: 2001-99-99\n", r"not valid YAML \(month must be"),
        ("'a\\\n  \\e[31m': 1\n", r"config .*study\.yaml: "),
    ],
)
def test_yaml_beyond_plain_values_is_refused_by_line(tmp_path, text, expected):
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(UserError, match=expected):
        load_study(tmp_path / "study.yaml")
