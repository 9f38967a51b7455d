"""Files: whole or absent, written where they belong, and refused where they are read without their hashes."""

import contextlib
import json
import stat
import subprocess
import sys

import pytest

from hdpo.system.errors import UserError
from hdpo.system.files import read_record, verify_files, write_atomic, write_json, write_record


@pytest.fixture
def record(tmp_path):
    """A record of two files."""
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    write_record(tmp_path / "run.json", {"seed": 1}, [tmp_path / "b.txt", tmp_path / "a.txt"])
    return tmp_path / "run.json"


def test_a_record_states_the_hashes_of_its_files_and_of_itself(record):
    assert read_record(record)["seed"] == 1 and list(read_record(record)["files"]) == ["a.txt", "b.txt"]
    verify_files(record)
    verify_files(record, "a.txt")


@pytest.mark.parametrize("missing", [["sha256"], ["files"], ["sha256", "files"]])
def test_a_record_without_hashes_is_refused(record, missing):
    """Deleting a hash must not be a way past it, nor is a record of an early version trusted."""
    written = json.loads(record.read_text())
    record.write_text(json.dumps({key: value for key, value in written.items() if key not in missing}))
    for read in (read_record, verify_files):
        with pytest.raises(UserError, match=r"run\.json: states no hashes; this version writes them, so run again"):
            read(record)


def test_an_altered_record_is_refused(record):
    record.write_text(record.read_text().replace('"seed": 1', '"seed": 2'))
    with pytest.raises(UserError, match=r"run\.json: altered since it was written"):
        read_record(record)


@pytest.mark.parametrize("text", ["[1, 2]", "7", '"files"', "{", ""])
def test_what_is_no_record_is_refused(record, text):
    record.write_text(text)
    with pytest.raises(UserError, match=r"run\.json: damaged"):
        read_record(record)


def test_a_file_that_changed_is_named(record):
    (record.parent / "b.txt").write_text("c")
    verify_files(record, "a.txt")
    for names in ((), ("b.txt",), ("a.txt", "b.txt")):
        with pytest.raises(UserError, match=r"b\.txt: missing, truncated or altered since run\.json was written"):
            verify_files(record, *names)
    (record.parent / "b.txt").unlink()
    with pytest.raises(UserError, match=r"b\.txt: missing"):
        verify_files(record)


def test_a_file_that_the_record_does_not_know_is_refused(record):
    (record.parent / "c.txt").write_text("c")
    with pytest.raises(UserError, match=r"run\.json: states no hash of c\.txt"):
        verify_files(record, "c.txt")


def test_the_old_file_stays_when_writing_fails(tmp_path):
    target = tmp_path / "value"
    target.write_text("old")

    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomic(target, fail)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(("mask", "file", "folder"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_written_files_have_the_permissions_of_the_umask(tmp_path, mask, file, folder):
    code = (
        "from hdpo.system.files import write_atomic, write_json\n"
        "write_json('out/deep/a.json', {})\n"
        "write_atomic('out/model', lambda folder: (folder.mkdir(), (folder / 'w').write_text('x')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, umask=mask, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = list((tmp_path / "out").rglob("*"))
    assert len(written) == 4
    for path in [tmp_path / "out", *written]:
        assert stat.S_IMODE(path.stat().st_mode) == (folder if path.is_dir() else file), path


def test_writing_replaces_a_link_and_spares_what_it_points_to(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "out.json").symlink_to(tmp_path / "precious")
    with contextlib.chdir(tmp_path):
        write_json("out.json", {"a": 1})
    assert (tmp_path / "precious").read_text() == "kept" and not (tmp_path / "out.json").is_symlink()
