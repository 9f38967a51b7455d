"""The true cliffs of the small world, trained by TRL: does `HDPOTrainer` open them as the kit does?

    python -m benchmarks.trl_cliffs STUDY RUN SEED OUT [STEPS]    one run of a study file (`trl_curves` draws them)

It writes RUN-SEED.csv, a row for each step, and then RUN-SEED.json, the rest. A run that has both is not trained again.
Base model, prompts and their order, rewards, temperature and optimiser are the study's. Rollouts come from TRL's
`generate` and advantages are TRL's: the group's own mean and deviation, not those of the others. The learning rate
warms up from 0. It is constant then, as the study's.
"""

import copy
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import TrainerCallback

from benchmarks.trl import settings as trl_settings
from benchmarks.workload import plain_model, plain_tokenizer
from hdpo.stats.passk import pass_at_k
from hdpo.study.study import Run, load_study
from hdpo.system.files import write_atomic, write_json
from hdpo.system.provenance import provenance
from hdpo.system.rng import draw_prompts
from hdpo.tasks import Problem, Task

ROWS = 64  # of a forward pass
CURVES = ("reward", "frac_reward_zero_std", "entropy", "grad_norm", "step_time")  # and all of HDPO's


def train(run: Run, out: Path, steps: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Train `run` for `steps` steps: what TRL logged, a row for each step, and the record with pass@k on the way."""
    from datasets import Dataset

    from hdpo.trl import HDPOConfig, HDPOTrainer

    study, method = run.study, run.method
    task = study.task.load(study)
    problems = task.problems("train")
    drawn = [
        problems[i]
        for step in range(steps)
        for i in draw_prompts(run.seed, step, study.train.prompts_per_step, len(problems))
    ]
    shared = trl_settings(study.model_copy(update={"methods": [method]}), steps, ROWS, out / "trl")
    own = {"distill_weight": 0.0}
    if method.name == "hdpo":
        names = ("distill_weight", "teacher", "tail", "privileged_rollouts", "max_cliffs")
        own = {name: getattr(method, name) for name in names} | {"distill_top_k": method.top_k}
    changes = {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": study.train.optimizer.warmup_steps}
    logged = {"logging_strategy": "steps", "logging_steps": 1, "seed": run.seed}
    shown = {task.student_prompt(problem): task.privileged_prompt(problem) for problem in drawn}
    plan = study.evaluate
    held_out = HeldOut(task, task.problems("validation"), plan.samples, plan.every, plan.ks)
    trainer = HDPOTrainer(
        plain_model(study.base_path),
        reward_of(task, problems),
        HDPOConfig(**shared | changes | logged | own),
        Dataset.from_dict({"prompt": [task.student_prompt(problem) for problem in drawn]}),
        processing_class=plain_tokenizer(study.base_path),
        callbacks=[held_out],
        privileged_prompt=lambda example: shown[example["prompt"]],
    )
    held_out.trainer = trainer
    trainer.train()
    logs = pd.DataFrame([entry for entry in trainer.state.log_history if "reward" in entry]).set_index("step")
    curves = logs[[name for name in logs if name in CURVES or name.startswith("hdpo/")]]
    seconds = trainer.state.log_history[-1]["train_runtime"]
    return curves, {"run": run.name, "seed": run.seed, "validation": held_out.records, "seconds": seconds}


def reward_of(task: Task, problems: list[Problem]) -> Callable[..., list[float]]:
    """The task's reward as a reward function of TRL."""
    by_prompt = {task.student_prompt(problem): problem for problem in problems}

    def reward(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [task.reward(by_prompt[prompt], text) for prompt, text in zip(prompts, completions, strict=True)]

    return reward


class HeldOut(TrainerCallback):
    """pass@k on held-out problems, by `generate`, at the start and every so many steps; training's draws stay."""

    def __init__(self, task: Task, problems: list[Problem], samples: int, every: int, ks: list[int]) -> None:
        self.task, self.problems, self.samples, self.every, self.ks = task, problems, samples, every, ks
        self.records: list[dict[str, float]] = []
        self.trainer: Any = None

    def on_train_begin(self, args, state, control, **_) -> None:
        self._measure(0)

    def on_step_end(self, args, state, control, **_) -> None:
        if state.global_step % self.every == 0 or state.global_step == args.max_steps:
            self._measure(state.global_step)

    @torch.no_grad()
    def _measure(self, step: int) -> None:
        trainer, tokenizer = self.trainer, self.trainer.processing_class
        texts = [self.task.student_prompt(problem) for problem in self.problems]
        prompts = tokenizer(texts, padding=True, return_tensors="pt")
        model = trainer.accelerator.unwrap_model(trainer.model)
        settings = copy.deepcopy(trainer.generation_config)
        settings.num_return_sequences = self.samples
        with torch.random.fork_rng():
            torch.manual_seed(step)
            ids = model.generate(
                prompts["input_ids"],
                attention_mask=prompts["attention_mask"],
                generation_config=settings,
            )[:, prompts["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        rewards = [self.task.reward(self.problems[i // self.samples], text) for i, text in enumerate(texts)]
        correct = np.array(rewards, dtype=int).reshape(-1, self.samples).sum(1)  # of each problem
        self.records.append({"step": step} | {f"pass@{k}": pass_at_k(correct, self.samples, k).mean() for k in self.ks})


def main(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    study_file, name, seed, out, *steps = arguments
    study, stem = load_study(study_file), Path(out) / f"{name}-{seed}"
    run, record = study.run(name, int(seed)), stem.with_name(f"{stem.name}.json")
    if record.exists():
        return
    origin = provenance()  # of the code that trains, whatever changes meanwhile
    origin["versions"] |= {package: version(package) for package in ("trl", "accelerate")}
    curves, found = train(run, Path(out), int(steps[0]) if steps else study.train.steps)
    write_atomic(record.with_suffix(".csv"), lambda path: curves.to_csv(path, float_format="%.6g"))
    write_json(record, found | {"provenance": origin})


if __name__ == "__main__":
    main(sys.argv[1:])
