"""What the kit and its contenders work on: the small world's study with models of several sizes, in float32."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from benchmarks.side import STUDY
from hdpo.study.study import Study, load_study
from hdpo.tasks import Problem, Task
from hdpo.tasks.scoring import Judged


@dataclass(frozen=True)
class Size:
    """A model, and how many rollouts of it a step draws. `hidden` 0: the small world's own base model."""

    name: str
    hidden: int = 0
    layers: int = 0
    heads: int = 0
    vocabulary: int = 0  # 0: the small world's
    prompts: int = 16  # P
    group: int = 16  # G


def write_study(size: Size, folder: Path, **train: Any) -> Path:
    """A GRPO study of this size under `folder`, with its base model; returns the study file.

    It is the small world's study with the group's own mean as baseline, as other trainers have it, and without the
    logging of gradient norms. `train` replaces keys of its train section.

    Raises:
        UserError: not started where `config/small.yaml` is.
    """
    small = load_study(STUDY)
    base = random_base(size, small, folder / "base") if size.hidden else Path(small.base_path)
    study = small.model_dump() | {
        "name": "bench",
        "pretrain": None,
        "methods": [{"method": "grpo", "baseline": "mean"}],
    }
    study["model"]["path"] = str(base.resolve())
    study["train"] |= {
        "prompts_per_step": size.prompts,
        "rollouts_per_prompt": size.group,
        "log_gradient_norms": False,
    } | train
    # A run has to be evaluated; on one problem this takes some milliseconds.
    study["task"]["problems"] |= {"development": 1, "validation": 1}
    study["evaluate"]["every"] = study["train"]["steps"]
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    return path


def random_base(size: Size, small: Study, folder: Path) -> Path:
    """A Qwen2 of this size with random weights (seed 0), saved with the small world's tokenizer."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    source = Path(small.base_path)
    config = Qwen2Config.from_pretrained(source).to_dict() | {
        "hidden_size": size.hidden,
        "intermediate_size": 3 * size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.heads,
        "layer_types": None,
    }
    config["vocab_size"] = size.vocabulary or config["vocab_size"]
    torch.manual_seed(0)
    Qwen2ForCausalLM(Qwen2Config(**config)).save_pretrained(folder)
    for path in source.glob("tokenizer*"):
        shutil.copy(path, folder)
    return folder


def plain_model(path: str) -> nn.Module:
    """The base model as transformers loads it, for the tools that the kit is compared with."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )


def plain_tokenizer(path: str):
    """The tokenizer as transformers loads it, padding on the left as sampling needs."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(path, padding_side="left")


def parity(tokens: Sequence[int]) -> float:
    """A reward that random weights earn half of the time, so that no group is without signal: first token odd."""
    return float(int(tokens[0]) % 2)


@dataclass
class Work:
    """What a contender drew, step by step, to show that all did the same: lengths and rewards, [P, G] each."""

    group: int
    lengths: list[Tensor] = field(default_factory=list)
    rewards: list[Tensor] = field(default_factory=list)

    def note(self, lengths: list[int], rewards: list[float]) -> Tensor:
        """Record a step, prompt-major; returns its rewards, [P, G]."""
        self.lengths.append(torch.tensor(lengths).reshape(-1, self.group))
        self.rewards.append(torch.tensor(rewards, dtype=torch.float32).reshape(-1, self.group))
        return self.rewards[-1]

    def summary(self, steps: int) -> dict[str, float]:
        """Means over the last `steps` steps: tokens drawn, those of them with a gradient, and reward.

        Only tokens of groups whose rewards differ have a gradient; all count in the loss's denominator.
        """
        lengths, rewards = torch.stack(self.lengths[-steps:]), torch.stack(self.rewards[-steps:])  # [steps, P, G]
        signal = (rewards != rewards[:, :, :1]).any(-1)
        return {
            "tokens": round(float(lengths.sum()) / steps, 1),
            "tokens_with_gradient": round(float((lengths.sum(-1) * signal).sum()) / steps, 1),
            "reward": round(float(rewards.mean()), 4),
        }


@dataclass
class KitScorer:
    """The trainer's own scorer with a record; random weights are scored by `parity`."""

    scorer: Any
    size: Size
    work: Work

    def judge(self, problems: list[Problem], completions: list[Tensor]) -> Judged:
        if self.size.hidden:
            rewards = [parity(tokens) for tokens in completions]
        else:
            rewards = self.scorer.judge(problems, completions).rewards.flatten().tolist()
        return Judged(self.work.note([len(tokens) for tokens in completions], rewards), [], Counter())


def trl_reward(size: Size, task: Task, problems: Sequence[Problem], work: Work):
    """The same rewards as a TRL reward function, which is handed the decoded completions."""
    by_prompt = {task.student_prompt(problem): problem for problem in problems}

    def reward(prompts: list[str], completions: list[str], completion_ids: list[list[int]], **_) -> list[float]:
        if size.hidden:
            rewards = [parity(tokens) for tokens in completion_ids]
        else:
            rewards = [task.reward(by_prompt[prompt], text) for prompt, text in zip(prompts, completions, strict=True)]
        work.note([len(tokens) for tokens in completion_ids], rewards)
        return rewards

    return reward
