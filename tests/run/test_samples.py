"""Samples: what the step drew and the verifier said, no trace in the weights, the same bytes after a kill."""

import pytest
import torch

from hdpo.learning.jsd import top_k_jsd
from hdpo.learning.trainer import Trainer
from hdpo.model.forward import completion_logits
from hdpo.model.sequences import Sequences
from hdpo.model.tokenizer import encode
from hdpo.run.samples import CHOSEN, FOLLOWED, NotingScorer, Samples, pieces
from hdpo.run.samples_file import read_samples, write_samples
from hdpo.run.train import train_run
from hdpo.system.errors import UserError
from hdpo.system.files import read_record
from hdpo.system.rng import draw_prompts
from helpers.runs import Killed, assert_same, results, train_until_killed
from helpers.studies import ROOT


@pytest.fixture
def trainer(make_trainer, trained_base) -> Trainer:
    return make_trainer("hdpo-frozen-0.1", model__path=str(trained_base))


@pytest.fixture
def sampled(trainer) -> tuple[Trainer, list[dict]]:
    """A trainer after one step, and the sample of that step."""
    return trainer, Samples(None, 1, []).step(trainer, 0)[1]


def test_a_sample_is_what_the_step_drew(sampled):
    trainer, rows = sampled
    drawn = [trainer.problems[i] for i in draw_prompts(1, 0, 8, len(trainer.problems))]
    judged, by_id = trainer.log.judged[0], {problem.id: i for i, problem in enumerate(drawn)}
    assert {row["kind"] for row in rows} <= CHOSEN.keys() and rows
    for row in [row for row in rows if row["role"] == "student"]:
        i = by_id[row["problem"]]
        assert row["text"] == judged.texts[i * 8 + row["number"]]
        assert row["reward"] == int(judged.rewards[i, row["number"]])
        assert row["prompt"] == trainer.task.student_prompt(drawn[i])
        share = float(judged.rewards[i].mean())
        assert row["kind"] == ("cliff" if share == 0 else "solved" if share == 1 else "mixed")


def test_the_teachers_tries_are_all_there_and_the_kept_ones_are_those_learned_from(sampled):
    trainer, rows = sampled
    demonstrations = trainer.log.demonstrations[0]
    prompts = trainer.tokenizer.batch_decode([prompt.tolist() for prompt in demonstrations.teacher.prompts])
    learned = trainer.tokenizer.batch_decode([c.tolist()[:-1] for c in demonstrations.teacher.completions])
    learned = list(zip(prompts, learned, strict=True))
    cliffs = [row["problem"] for row in rows if row["kind"] == "cliff" and row["number"] == 0]
    assert cliffs
    for name in dict.fromkeys(cliffs):
        tries = [row for row in rows if row["problem"] == name and row["role"] == "teacher"]
        assert len(tries) == trainer.method.privileged_rollouts
        kept = [(row["prompt"], row["text"]) for row in tries if row["kept"]]
        assert kept == [pair for pair in learned if pair[0] == tries[0]["prompt"]]
        assert any(row["reward"] == 0 for row in tries) or len(kept) == len(tries)
        assert [row["kept"] for row in tries] == [row["reward"] == 1 for row in tries]
    assert any(row["kept"] for row in rows)  # or nothing was shown


def test_rollouts_with_a_hint_in_sight_are_not_shown_as_plain_ones(make_trainer, trained_base):
    trainer = make_trainer("hint-rl-32", model__path=str(trained_base))
    rows = Samples(None, 1, []).step(trainer, 0)[1]
    assert len(trainer.log.judged) == 2 and rows
    assert {row["text"] for row in rows} <= set(trainer.log.judged[0].texts)


def test_a_teacher_that_sees_no_hint_is_shown_without_one(make_trainer, trained_base):
    run = "hdpo-variant-drifting-0.1+hint=none+filtered=false"
    trainer = make_trainer(run, model__path=str(trained_base))
    rows = Samples(None, 1, []).step(trainer, 0)[1]
    tries = [row for row in rows if row["role"] == "teacher"]
    assert tries and all(row["kept"] and "!" not in row["prompt"] for row in tries)
    assert any(row["reward"] == 0 for row in tries)


def test_the_jsd_is_that_of_the_weights_after_the_update(sampled):
    trainer, rows = sampled
    row = next(row for row in rows if row["jsd"])
    assert sum(row["jsd"] is not None for row in rows) <= CHOSEN["cliff"]
    problem = next(problem for problem in trainer.problems if problem.id == row["problem"])
    texts = [trainer.task.student_prompt(problem), trainer.task.privileged_prompt(problem)]
    plain, privileged = encode(trainer.tokenizer, texts)
    (text,) = encode(trainer.tokenizer, [row["text"]])
    completion = torch.cat([text, torch.tensor([trainer.tokenizer.eos_token_id])])
    with torch.no_grad():
        student = completion_logits(trainer.policy, Sequences([plain], [completion]))
        teacher = completion_logits(trainer.teacher.model, Sequences([privileged], [completion]))
        expected = top_k_jsd(teacher, student, trainer.method.top_k)
    assert row["jsd"] == pytest.approx(expected.tolist(), abs=1e-6)
    assert len(row["tokens"]) == len(row["jsd"]) and "".join(row["tokens"]).removesuffix(" <eos>") == row["text"]
    assert max(row["jsd"]) > 0


def test_a_cliff_is_tried_again_until_the_student_solves_it(trainer, monkeypatch):
    monkeypatch.setattr("hdpo.run.samples.CHOSEN", {"cliff": 1, "mixed": 0, "solved": 0})
    samples = Samples(None, 1, [])
    rows = [samples.step(trainer, step)[1] for step in range(6)]
    followed = [{row["problem"] for row in sample if row["kind"] == "followed"} for sample in rows]
    cliffs = [next(row["problem"] for row in sample if row["kind"] == "cliff") for sample in rows]
    assert followed[0] == set() and followed[1] == {cliffs[0]} and max(map(len, followed)) == FOLLOWED
    solved: set[str] = set()
    for step, sample in enumerate(rows):
        assert not followed[step] & solved
        solved |= {row["problem"] for row in sample if row["role"] == "student" and row["reward"]}
    for sample in rows:  # new tries, not the old ones
        tries = [row["text"] for row in sample if row["kind"] == "followed"]
        assert len(set(tries)) > 1 or not tries


def test_samples_change_nothing_in_the_run(make_run):
    """With and without samples: the same metrics, evaluations and weights, and the same identity."""
    without, often = make_run(samples=None), make_run(samples=1, name="often")
    assert (without.hash, without.code) == (often.hash, often.code)
    train_run(without)
    train_run(often)
    assert_same(results(without), results(often))
    assert "samples.parquet" not in read_record(without.folder / "run.json")["files"]
    assert not (without.folder / "samples.parquet").exists()
    assert "samples.parquet" in read_record(often.folder / "run.json")["files"]
    assert {row["step"] for row in read_samples(often.folder / "samples.parquet")} == {0, 1, 2, 3, 4}
    assert without.study.identity == without.study.model_copy(update={"samples": 1}).identity


@pytest.mark.parametrize("step", [1, 3, 4])
def test_a_killed_run_ends_in_the_same_bytes(make_run, monkeypatch, step):
    whole = make_run("hdpo-drifting-0.1", samples=1)
    train_run(whole)
    killed = make_run("hdpo-drifting-0.1", samples=1, name="killed")
    train_until_killed(killed, monkeypatch, step)
    train_run(killed)
    bytes_of = [(run.folder / "samples.parquet").read_bytes() for run in (whole, killed)]
    assert bytes_of[0] == bytes_of[1] and len(read_samples(whole.folder / "samples.parquet")) > 50


def test_a_run_without_a_teacher_has_samples_too(make_run):
    run = make_run("grpo", samples=2)
    train_run(run)
    rows = read_samples(run.folder / "samples.parquet")
    assert {row["step"] for row in rows} == {0, 2, 4} and {row["role"] for row in rows} == {"student"}


def test_a_checkpoint_without_samples_is_gone_on_from(make_run, monkeypatch):
    """Checkpoints that an earlier version wrote, or a study without samples."""
    run = make_run(samples=None)
    train_until_killed(run, monkeypatch, 3)
    train_run(make_run(samples=1))
    assert {row["step"] for row in read_samples(run.folder / "samples.parquet")} == {2, 3, 4}
    assert read_record(run.folder / "run.json")["resumed_after_step"] == 2


def test_scorers_are_put_back_even_after_an_error(trainer, monkeypatch):
    before, seen = (trainer.scorer, trainer.teacher.scorer), []

    def failing(self, step):
        seen.extend([self.scorer, self.teacher.scorer])
        raise Killed

    monkeypatch.setattr(Trainer, "step", failing)
    with pytest.raises(Killed):
        Samples(None, 1, []).step(trainer, 0)
    assert [type(scorer) for scorer in seen] == [NotingScorer, NotingScorer] and seen[0] is not seen[1]
    assert (trainer.scorer, trainer.teacher.scorer) == before


TEXTS = ["a\x1b[31mb\x00c\r\n", "\N{RIGHT-TO-LEFT OVERRIDE}x", "π 🎉", "", "x" * 3_000_000]


def test_any_text_survives_the_file(tmp_path):
    row = {"step": 0, "problem": "p", "kind": "cliff", "role": "teacher", "number": 0, "reward": 1, "kept": True}
    rows = [row | {"prompt": text, "text": text, "tokens": [text], "jsd": [0.5]} for text in TEXTS]
    rows.append(row | {"prompt": "", "text": "", "tokens": None, "jsd": None})
    write_samples(tmp_path / "samples.parquet", rows)
    assert read_samples(tmp_path / "samples.parquet") == rows
    write_samples(tmp_path / "none.parquet", [])
    assert read_samples(tmp_path / "none.parquet") == []


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "samples.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"samples\.parquet: damaged"):
        read_samples(tmp_path / "samples.parquet")


class Bytes:
    """A tokenizer of single bytes, most of which end inside a character."""

    def batch_decode(self, sequences, skip_special_tokens=False):
        return [bytes(ids).decode("utf-8", errors="replace") for ids in sequences]


@pytest.mark.parametrize("text", ["plain", "π is 3", "🎉🎉", ""])
def test_pieces_of_tokens_join_to_the_text(text):
    found = pieces(Bytes(), list(text.encode()))
    assert "".join(found) == text and len(found) == len(text.encode())
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in found)


def test_a_text_that_ends_inside_a_character_keeps_all_pieces():
    found = pieces(Bytes(), list("aπ".encode())[:-1])
    assert found == ["a", "\N{REPLACEMENT CHARACTER}"]


def test_the_reference_studies_keep_their_hashes(monkeypatch):
    from hdpo.study.study import load_study

    monkeypatch.chdir(ROOT)
    study = load_study("config/small.yaml")
    assert study.run("hdpo-frozen-0.1", 11).hash == "28ee93ea4f03" and study.samples == 20
