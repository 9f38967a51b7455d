"""Methods by name: sweeps, run names that parse back, and mistakes that name the nearest right one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpo.cli import main
from hdpo.methods.grpo import GRPO
from hdpo.methods.hdpo import HDPO
from hdpo.study import registry
from hdpo.study.registry import expand, method_class, methods, parse_run, tasks
from hdpo.study.study import load_study
from hdpo.system.errors import UserError
from helpers.studies import ROOT, hdpo, write_study


def test_the_kits_methods_are_the_files_of_its_folder():
    files = {path.stem.replace("_", "-") for path in (ROOT / "hdpo/methods").glob("*.py")} - {"--init--"}
    assert set(methods()) >= files and {"grpo", "hdpo"} <= files
    assert method_class("grpo") is GRPO and method_class("hdpo") is HDPO
    assert all(method_class(name).name == name for name in files)
    assert {"countdown", "openmathinstruct2", "gsm8k"} <= set(tasks())


def test_each_list_among_an_arms_values_is_swept():
    arms = expand(hdpo(["drifting", "frozen"], [0.1, 1.0], top_k=8))
    assert [(arm.teacher, arm.distill_weight, arm.top_k) for arm in arms] == [
        ("drifting", 0.1, 8),
        ("drifting", 1.0, 8),
        ("frozen", 0.1, 8),
        ("frozen", 1.0, 8),
    ]
    assert [arm.clip for arm in expand({"method": "grpo", "clip": [0.1, 0.2]})] == [0.1, 0.2]
    assert expand("grpo") == expand({"method": "grpo"}) == expand(GRPO()) == [GRPO()]


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (GRPO(), "grpo"),
        (GRPO(clip=0.3), "grpo+clip=0.3"),
        (GRPO(importance_cap=2.0, baseline="mean"), "grpo+importance_cap=2+baseline=mean"),
        (GRPO(normalize_advantages=False), "grpo+normalize_advantages=false"),
        (HDPO(distill_weight=0.1), "hdpo-drifting-0.1"),
        (HDPO(distill_weight=-0.0), "hdpo-drifting-0"),
        (HDPO(distill_weight=1e-05, teacher="frozen"), "hdpo-frozen-1e-05"),
        (HDPO(distill_weight=1e-300, teacher="frozen", top_k=8), "hdpo-frozen-1e-300+top_k=8"),
    ],
)
def test_a_run_is_named_after_its_method_and_what_is_not_the_default(method, name):
    assert method.run_name == name
    assert parse_run(name) == method


positive = st.floats(1e-300, 999999, allow_subnormal=False).map(lambda value: float(f"{value:.6g}"))
grpo_parameters = {
    "clip": positive,
    "importance_cap": st.none() | positive,
    "baseline": st.sampled_from(["leave_one_out", "mean"]),
    "normalize_advantages": st.booleans(),
}
arms = st.builds(GRPO, **grpo_parameters) | st.builds(
    HDPO,
    **grpo_parameters,
    teacher=st.sampled_from(["drifting", "frozen"]),
    distill_weight=st.just(0.0) | positive,
    top_k=st.integers(1, 2**31 - 1),
    tail=st.sampled_from(["exact", "paper"]),
    privileged_rollouts=st.integers(1, 99),
    max_cliffs=st.integers(1, 99),
)


@given(arms)
def test_every_runs_name_gives_its_method_back(method):
    assert parse_run(method.run_name) == method


@given(arms, arms)
def test_two_methods_share_a_name_only_if_they_are_equal(one, other):
    assert (one.run_name == other.run_name) == (one == other)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("gpro", r"no method 'gpro'; did you mean grpo\? Known: dapo, "),
        ("ppo-0.1", r"no method 'ppo'"),
        ("hdpo", r"expected hdpo-<teacher>-<distill_weight>, then \+<parameter>=<value> for others"),
        ("hdpo-frozen", r"expected hdpo-<teacher>-<distill_weight>"),
        ("hdpo-frozen-0.1-3", r"expected hdpo-<teacher>-<distill_weight>"),
        ("hdpo-melting-0.1", r"hdpo: teacher: .*'drifting' or 'frozen', got 'melting'"),
        ("hdpo-frozen--1", r"expected hdpo-<teacher>"),
        ("hdpo-frozen-1e999", r"hdpo: distill_weight: "),
        ("hdpo-frozen-nan", r"hdpo: distill_weight: "),
        ("hdpo-frozen-x", r"could not convert string to float: 'x'"),
        ("hdpo-frozen-0.10", r"write it hdpo-frozen-0\.1$"),
        ("hdpo-frozen-0.1+top_k=64", r"write it hdpo-frozen-0\.1$"),
        ("hdpo-frozen-0.1+topk=8", r"hdpo has no parameter 'topk'; did you mean top_k\?"),
        ("grpo+clip=0.2+clip=0.3", r"write it grpo\+clip=0\.3"),
        ("grpo+normalize_advantages=no", r"normalize_advantages: Input should be a valid boolean"),
        ("grpo+clip", r"expected grpo, then"),
        ("hdpo-frozen-0.1; touch x", r"could not convert string to float"),
        ("../x", r"no method '\.\./x'"),
        ("", r"no method ''"),
    ],
)
def test_names_that_state_no_run_are_refused(run, expected):
    with pytest.raises(UserError, match=expected):
        parse_run(run)


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        (["hdop"], r"no method 'hdop'; did you mean hdpo\? Known: dapo, "),
        ([hdpo(topk=8)], r"hdpo has no parameter 'topk'; did you mean top_k\? Known: "),
        ([{"method": "grpo", "distill_weight": 1.0}], r"grpo has no parameter 'distill_weight'; Known: clip, "),
        ([{"method": "hdpo"}], r"methods: hdpo: distill_weight: Field required"),
        ([{"clip": 0.3}], r"expected a method's name, or a mapping such as \{method: hdpo"),
        ([7], r"expected a method's name"),
        ([hdpo(distill_weight=[])], r"hdpo: a sweep makes from 1 to 10000 runs, this one 0"),
        ([hdpo(distill_weight=[0.1, 0.1])], r"methods: hdpo-frozen-0\.1 is listed twice"),
        ([hdpo(distill_weight=[0.0, -0.0])], r"methods: hdpo-frozen-0 is listed twice"),
        (["grpo", {"method": "grpo", "clip": 0.2}], r"methods: grpo is listed twice"),
        ([hdpo(distill_weight=0.12345678)], r"0\.12345678 has more than six significant digits"),
        ([hdpo(distill_weight=1e20)], r"distill_weight: .*less than 1000000"),
    ],
)
def test_mistakes_in_methods_are_one_line(tmp_path, capsys, arms, expected):
    path = write_study(tmp_path, methods=arms)
    with pytest.raises(UserError, match=rf"config .*study\.yaml: .*{expected}"):
        load_study(path)
    assert main(["plan", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["chess", "countdwn"])
def test_an_unknown_task_names_the_nearest(tmp_path, name):
    expected = r"did you mean countdown\?" if name == "countdwn" else "Known: "
    with pytest.raises(UserError, match=rf"no task '{name}'; .*{expected}"):
        load_study(write_study(tmp_path, task__name=name))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sweep": {"teachers": ["frozen"]}}, r"sweep: is of the old form; list the runs under `methods`"),
        ({"distill": {"top_k": 64}}, r"distill: is of the old form; move its keys to the hdpo entry of `methods`"),
        ({"train__clip": 0.2}, r"train\.clip: is now a parameter of grpo and hdpo; move it to `methods`"),
        ({"train__baseline": "mean"}, r"train\.baseline: is now a parameter"),
    ],
)
def test_a_study_file_of_the_old_form_is_told_how_to_change(tmp_path, capsys, changes, expected):
    path = write_study(tmp_path, **changes)
    with pytest.raises(UserError, match=expected):
        load_study(path)
    assert main(["train", str(path), "--run", "grpo", "--seed", "1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("nowhere.at_all:Thing", r"method foreign: nowhere\.at_all:Thing cannot be loaded \(ModuleNotFoundError"),
        ("hdpo.methods.grpo:Nothing", r"hdpo\.methods\.grpo:Nothing is not one Method class"),
        ("hdpo.study.task:TaskConfig", r"hdpo\.study\.task:TaskConfig is not one Method class"),
    ],
)
def test_an_installed_method_that_cannot_be_loaded_is_one_line(monkeypatch, place, expected):
    monkeypatch.setattr(registry, "methods", lambda: {"foreign": place})
    with pytest.raises(UserError, match=expected):
        registry.method_class("foreign")


def test_installed_packages_cannot_take_the_kits_names(monkeypatch):
    class Point:
        name, value = "grpo", "elsewhere:GRPO"

    monkeypatch.setattr(registry, "entry_points", lambda group: [Point])
    with pytest.raises(UserError, match=r"entry point 'grpo' of hdpo.methods: own has this name already"):
        registry._with_installed("hdpo.methods", {"grpo": "own"})
    Point.name = "base"
    with pytest.raises(UserError, match=r"entry point 'base' of hdpo.methods: not a name"):
        registry._with_installed("hdpo.methods", {"grpo": "own"})
