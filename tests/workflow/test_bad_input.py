"""Bad input to the workflow: one line and exit code 2, and no text of a study reaches a shell."""

import pytest
import yaml

from helpers.studies import ROOT, tiny
from helpers.workflow import snakemake
from torture import config_fuzz

pytestmark = pytest.mark.slow  # Snakemake takes seconds to start


@pytest.mark.parametrize("value", ["1", "a{b}.yaml", "bad.yaml", "nowhere.yaml"])
def test_what_is_no_valid_study_is_one_line(tmp_path, value):
    folder = tmp_path
    (folder / "bad.yaml").write_text(yaml.safe_dump(tiny(name="; touch pwned")))
    paper = yaml.safe_load((ROOT / "config/paper.yaml").read_text())
    (folder / "nowhere.yaml").write_text(yaml.safe_dump(paper | {"task": paper["task"] | {"path": "./nowhere"}}))
    assert config_fuzz.dry_run(folder, value, planned=False) is None
    assert not (folder / "pwned").exists()


def test_a_study_path_with_shell_in_it_reaches_the_command_as_it_is(tmp_path):
    """A real job, with a command in place of `hdpo` that notes what it is given."""
    folder, name = tmp_path, "a b'\"$(touch pwned);`touch pwned`;.yaml"
    (folder / name).write_text(yaml.safe_dump(tiny(name="quoted")))
    outputs = " ".join(f"results/quoted/audit/audit.{kind}" for kind in ("csv", "json", "md"))
    stub = f"#!/bin/sh\nprintf '%s\\n' \"$@\" > given\ntouch {outputs}\n"
    (folder / "tools").mkdir()
    (folder / "tools/hdpo").write_text(stub)
    (folder / "tools/hdpo").chmod(0o755)
    done = snakemake(folder, name, "--", "results/quoted/audit/audit.csv", tools=str(folder / "tools"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / "given").read_text().splitlines() == ["audit", name]
    assert not list(folder.rglob("pwned"))
