"""Trainers of TRL on the tiny study, and what they do at each step, in one process or, through accelerate, in two.

`python tests/helpers/trl_runs.py FOLDER OUT` runs every case of `CASES` for its number of processes.
"""

import sys
from pathlib import Path
from unittest import mock

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM, TrainerCallback
from trl import GRPOConfig

import hdpo.trl.trainer
from hdpo.study.study import load_study
from hdpo.trl import HDPOConfig, HDPOTrainer

GROUP = 4  # G; the first cases have P·G = 16 rollouts in an optimiser step

# Of each case: rows of a process's micro-batch, accumulation steps, iterations, teacher.
CASES = {
    "whole": (16, 1, 1, "drifting"),
    "four": (4, 4, 1, "drifting"),
    "eight-frozen": (2, 8, 1, "frozen"),
    "twice": (4, 4, 2, "drifting"),
    "twice-frozen": (16, 1, 2, "frozen"),
}
CASES_OF_TWO = {
    "whole": (8, 1, 1, "drifting"),
    "four": (2, 4, 1, "frozen"),
    "group-over-both": (3, 2, 1, "drifting"),  # 3 groups of 4: each process has one and a half
    "twice": (4, 2, 2, "drifting"),
}


def sum_of_six(completions, **_) -> list[float]:
    """Right are about one in six completions, so that random weights have successes, cliffs and demonstrations."""
    return [float(sum(map(ord, text)) % 6 == 0) for text in completions]


def examples(folder: Path, count: int = 12) -> Dataset:
    """Prompts, hints and privileged prompts of the tiny study's problems."""
    study = load_study(folder / "study.yaml")
    task = study.task.load(study)
    problems = task.problems("train")[:count]
    columns = {
        "prompt": [task.student_prompt(problem) for problem in problems],
        "hint": [problem.hint for problem in problems],
        "shown": [task.privileged_prompt(problem) for problem in problems],
    }
    return Dataset.from_dict(columns)


def make(
    folder: Path, out: Path, kind=HDPOTrainer, reward=sum_of_six, model=None, data=None, callbacks=(), more=None, **args
):
    """A trainer of the random base model in float32; `args` go to its config, `more` to the trainer."""
    defaults = {
        "output_dir": str(out),
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 4,
        "num_generations": GROUP,
        "max_completion_length": 8,
        "loss_type": "dapo",
        "scale_rewards": "none",
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
    }
    if issubclass(kind, HDPOTrainer):
        config = HDPOConfig
        defaults |= {"distill_weight": 1.0, "privileged_rollouts": 6}
        more = {"privileged_prompt": lambda example: example["shown"]} | (more or {})
    else:
        config = GRPOConfig
    return kind(
        Qwen2ForCausalLM.from_pretrained(folder / "base", dtype=torch.float32) if model is None else model,
        reward,
        config(**defaults | args),
        examples(folder) if data is None else data,
        processing_class=PreTrainedTokenizerFast.from_pretrained(folder / "base", padding_side="left"),
        callbacks=list(callbacks),
        **more or {},
    )


class Gradients(TrainerCallback):
    """Weights and gradients before each optimiser step, on the first process."""

    def __init__(self) -> None:
        self.updates: list[dict] = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **_) -> None:
        named = dict(getattr(model, "module", model).named_parameters())
        self.updates.append(
            {
                "weights": {name: parameter.detach().clone() for name, parameter in named.items()},
                "gradients": {name: parameter.grad.clone() for name, parameter in named.items()},
            }
        )


class Recorder(HDPOTrainer):
    """Notes each generation, of all processes: prompts and completions as ids, rewards, and the demonstrations."""

    def _generate_and_score_completions(self, inputs):
        found = []

        def deal(demonstrations, *args):
            found.extend(demonstrations)
            return real(demonstrations, *args)

        real = hdpo.trl.trainer.deal
        with mock.patch.object(hdpo.trl.trainer, "deal", deal):
            batch = super()._generate_and_score_completions(inputs)
        note = {
            name: gather_object(
                [
                    row[mask.bool()].tolist()
                    for row, mask in zip(batch[f"{name}_ids"], batch[f"{name}_mask"], strict=True)
                ]
            )
            for name in ("prompt", "completion")
        }
        note["rewards"] = self._rewards[:, 0].view(-1, GROUP)
        note["demonstrations"] = [tuple(one) for one in found]
        self.generations = [*getattr(self, "generations", []), note]
        return batch


def record(folder: Path, out: Path, rows: int, accumulation: int, iterations: int, teacher: str) -> dict:
    """Two generations of a case: what was drawn, weights and gradients of each update, and the last logs."""
    caught = Gradients()
    trainer = make(
        folder,
        out,
        Recorder,
        callbacks=[caught],
        max_steps=2 * iterations,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=accumulation,
        num_iterations=iterations,
        teacher=teacher,
    )
    trainer.train()
    return {
        "generations": trainer.generations,
        "updates": caught.updates,
        "logs": trainer.state.log_history,
        "iterations": iterations,
        "processes": trainer.accelerator.num_processes,
        "teacher": teacher,
    }


def main(folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    cases = CASES if state.num_processes == 1 else CASES_OF_TWO
    found = {name: record(folder, out.with_suffix(""), *case) for name, case in cases.items()}
    if state.is_main_process:
        torch.save(found, out)
    state.wait_for_everyone()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
