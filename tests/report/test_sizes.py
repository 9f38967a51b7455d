"""The main contrast by size, on a made-up study: numbers by hand, and files written twice alike."""

import numpy as np
import pytest
from transformers import Qwen2Config, Qwen2ForCausalLM

from hdpo.report.sizes import size_frame, write_sizes
from hdpo.tasks.countdown import build_tokenizer
from helpers.synthetic import make_results


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_results(tmp_path_factory.mktemp("made"), 0.02, ())


def test_differences_and_parameters(results):
    frame = size_frame([results]).set_index("metric")
    scores = results.scores("test", "pass@8")
    expected = np.mean([scores["hdpo-drifting-1"][seed] - scores["grpo"][seed] for seed in (1, 2, 3)])
    assert frame.loc["pass@8", "diff"] == pytest.approx(expected) and frame.loc["greedy", "seeds"] == 3
    asked = results.study.pretrain
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(build_tokenizer()),
            hidden_size=asked.hidden_size,
            intermediate_size=asked.intermediate_size,
            num_hidden_layers=asked.layers,
            num_attention_heads=asked.heads,
            num_key_value_heads=asked.kv_heads,
            tie_word_embeddings=True,
        )
    )
    assert frame.loc["greedy", "parameters"] == model.num_parameters()


def test_everything_is_written_twice_alike(results):
    out = write_sizes([results.study]).parent
    before = {path: path.read_bytes() for path in sorted(out.iterdir())}
    assert {path.name for path in before} == {f"sizes.{kind}" for kind in ("csv", "json", "md", "pdf", "png")}
    write_sizes([results.study])
    assert {path: path.read_bytes() for path in sorted(out.iterdir())} == before
