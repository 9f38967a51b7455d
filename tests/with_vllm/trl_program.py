"""`HDPOTrainer` with vLLM in its own process: python trl_program.py FOLDER TEACHER DTYPE prints what it did as JSON.

FOLDER holds study.yaml and the base model, as `helpers.trl_runs` wants it. TRL lets vLLM choose the type of weights,
which is bfloat16 on a CPU: DTYPE `auto`. In float32 log-probabilities can be compared. But there vLLM keeps packed
copies of the weights that TRL cannot renew, so they are loaded as the kit loads them.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path

import torch

from hdpo.sampling.vllm_sampler import ENVIRONMENT, _pack_head

os.environ |= ENVIRONMENT | {"TORCHDYNAMO_DISABLE": "1", "VLLM_USE_AOT_COMPILE": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}

from transformers import AutoModelForCausalLM
from trl.generation import vllm_generation

from hdpo.trl.demonstrations import completion_logits
from helpers.trl_runs import GROUP, make

PRIVILEGED, STEPS = 6, 3


def reload_weights(self) -> None:
    weights = [(name, value.data) for name, value in self.model.named_parameters()]
    self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
    self.llm.apply_model(_pack_head)
    self.llm.reset_prefix_cache()


def main(folder: Path, teacher: str, dtype: str) -> None:
    """Train for some steps; at each draw, compare vLLM's log-probabilities with those of the weights it should have."""
    torch.set_num_threads(1)
    if dtype != "auto":
        vllm_generation.LLM = partial(vllm_generation.LLM, dtype=dtype)
        vllm_generation.VLLMGeneration.sync_weights = reload_weights
    trainer = make(
        folder,
        folder / "out",
        teacher=teacher,
        max_steps=STEPS,
        privileged_rollouts=PRIVILEGED,
        learning_rate=1e-2,
        use_vllm=True,
        vllm_mode="colocate",
        vllm_gpu_memory_utilization=0.1,
        vllm_max_model_length=64,
    )
    engine, draws = trainer.vllm_generation, []
    generate, initial = engine.generate, AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
    moved = []  # how far the policy's log-probabilities of its rollouts are from the initial weights'

    def logps(model, prompts: list, completions: list) -> torch.Tensor:
        rows = [list(map(tuple, part)) for part in (prompts, completions)]
        with torch.no_grad():
            logits = completion_logits(model, *rows, torch.device("cpu"), 0)
        return logits.log_softmax(-1)[torch.arange(len(logits)), [token for row in completions for token in row]]

    def watched(prompts, images, num_generations, profiler=None):
        drawn = generate(prompts, images, num_generations, profiler)
        ids, values = drawn[1], torch.tensor([value for row in drawn[2] for (value,) in row])
        teachers = trainer._initial if teacher == "frozen" and num_generations == PRIVILEGED else trainer.model
        gap = (logps(teachers, prompts, ids) - values).abs().max()
        if num_generations == GROUP:
            moved.append(float((logps(initial, prompts, ids) - values).abs().max()))
        draws.append({"of": num_generations, "rows": len(ids), "gap": float(gap)})
        return drawn

    engine.generate = watched
    trainer.train()
    logs = [{"kept": entry["hdpo/kept"], "jsd": entry.get("hdpo/jsd")} for entry in trainer.state.log_history[:STEPS]]
    print(json.dumps({"draws": draws, "logs": logs, "group": GROUP, "moved": max(moved)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
