"""What HDPO asks of vLLM through TRL, with an engine that only writes down what it is asked."""

import pytest

pytest.importorskip("trl.trainer", reason="TRL is not installed; make test-trl")

from helpers.trl_runs import GROUP, make

PRIVILEGED = 6


class Engine:
    """Like TRL's `VLLMGeneration` in server mode: reads every `num_generations`-th prompt and answers each so often."""

    def __init__(self, model, eos: int) -> None:
        self.model, self.eos = model, eos
        self.synced, self.asked = [], []

    def sync_weights(self) -> None:
        self.synced.append(self.model)

    def generate(self, prompts, images, num_generations, profiler):
        for i in range(0, len(prompts), num_generations):
            assert prompts[i : i + num_generations] == [prompts[i]] * num_generations
        self.asked.append((num_generations, self.synced[-1]))
        answers = [[5, 6, self.eos] for _ in prompts[::num_generations] for _ in range(num_generations)]
        return None, answers, [[[-1.0] for _ in answer] for answer in answers], None


@pytest.mark.parametrize("teacher", ["drifting", "frozen"])
def test_privileged_rollouts_come_in_blocks_from_the_teachers_weights(folder, tmp_path, teacher):
    calls = []

    def fails_then_knows(completions, **_):
        calls.append(len(completions))
        return [float(len(calls) % 2 == 0)] * len(completions)

    trainer = make(folder, tmp_path, reward=fails_then_knows, teacher=teacher, privileged_rollouts=PRIVILEGED)
    engine = Engine(trainer.model, trainer.processing_class.eos_token_id)
    trainer.use_vllm, trainer.vllm_generation, trainer._last_loaded_step = True, engine, -1
    trainer.vllm_importance_sampling_correction = False
    trainer.train()
    teachers = trainer._initial if teacher == "frozen" else trainer.model
    assert engine.asked == [(GROUP, trainer.model), (PRIVILEGED, teachers)] * 2
    assert engine.model is trainer.model
    assert len(engine.synced) == (4 if teacher == "frozen" else 2)
    assert trainer.state.log_history[0]["hdpo/kept"] == 4 * PRIVILEGED
