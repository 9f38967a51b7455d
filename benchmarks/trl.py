"""TRL's GRPO on a study of the kit, with the settings that compute the same thing in the least time.

`python -m benchmarks.trl STUDY OUT` is a whole training run, to be timed from outside.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.workload import Size, Work, plain_model, plain_tokenizer, trl_reward
from hdpo.study.study import Study, load_study
from hdpo.system.rng import draw_prompts

RUN_SEED = 1


def settings(study: Study, steps: int, rows: int, out: Path, tuned: bool = True) -> dict[str, Any]:
    """Arguments of TRL's `GRPOConfig`.

    `rows` sequences go through a forward pass at a time; `train.micro_batch_tokens` decides this for the kit. The
    reference model (β = 0), logging and saving are off. If `tuned`, so are two defaults of TRL: gradient checkpointing
    and bfloat16 (the study is in float32). On a CPU a static cache was slower by 7 %, continuous batching 10 times.
    """
    train, optimizer, [grpo] = study.train, study.train.optimizer, study.methods
    defaults = {"gradient_checkpointing": False, "bf16": False} if tuned else {}
    return {
        "output_dir": str(out),
        "max_steps": steps,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": train.prompts_per_step * train.rollouts_per_prompt // rows,
        "num_generations": train.rollouts_per_prompt,
        "max_completion_length": train.max_response_tokens,
        "temperature": train.temperature,
        "num_iterations": 1,
        "epsilon": grpo.clip,
        "beta": 0.0,
        "loss_type": "dapo",  # one mean over all tokens of the step
        "scale_rewards": "group" if grpo.normalize_advantages else "none",
        "optim": "adamw_torch_fused",
        "learning_rate": optimizer.learning_rate,
        "lr_scheduler_type": "constant",
        "adam_beta1": optimizer.betas[0],
        "adam_beta2": optimizer.betas[1],
        "adam_epsilon": optimizer.eps,
        "weight_decay": optimizer.weight_decay,
        "max_grad_norm": optimizer.max_grad_norm,
        "shuffle_dataset": False,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "report_to": [],
        "logging_strategy": "no",
        "save_strategy": "no",
        "disable_tqdm": True,
        "seed": RUN_SEED,
    } | defaults


def make_trainer(
    study: Study,
    size: Size,
    steps: int,
    rows: int,
    out: Path,
    work: Work,
    callbacks: Sequence = (),
    tuned: bool = True,
    **more: Any,
):
    """TRL's trainer on the study's base model and the prompts that the kit draws, in the same order.

    `more` goes to `GRPOTrainer`.
    """
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    task = study.task.load(study)
    problems = task.problems("train")
    prompts = [
        task.student_prompt(problems[i])
        for step in range(steps)
        for i in draw_prompts(RUN_SEED, step, study.train.prompts_per_step, len(problems))
    ]
    return GRPOTrainer(
        model=plain_model(study.base_path),
        processing_class=plain_tokenizer(study.base_path),
        reward_funcs=trl_reward(size, task, problems, work),
        args=GRPOConfig(**settings(study, steps, rows, out, tuned)),
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        callbacks=list(callbacks),
        **more,
    )


class TurnTaker:
    """A training loop in a thread that stops after every optimiser step, so that others can have their turns.

    A turn goes from the end of one step to the end of the next: data, rollouts, rewards, loss, update. `make` gets
    the callbacks and returns the trainer.
    """

    def __init__(self, make: Callable[[list], Any]) -> None:
        from transformers import TrainerCallback

        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.error: Exception | None = None
        turns = self

        class Stop(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs) -> None:
                turns.done.release()
                turns.go.acquire()

        self.trainer = make([Stop()])
        self.thread = threading.Thread(target=self._train, daemon=True)  # may wait for a turn that never comes

    def step(self) -> None:
        """Take the next optimiser step.

        Raises:
            Exception: what the training loop raised, or that it has no step left.
        """
        if self.thread.ident is None:
            self.thread.start()
        self.go.release()
        self.done.acquire()
        if self.error is not None:
            raise self.error

    def _train(self) -> None:
        self.go.acquire()
        try:
            self.trainer.train()
            raise RuntimeError(f"all {self.trainer.args.max_steps} steps are taken")
        except Exception as error:
            self.error = error
        self.done.release()


def whole_run(study_file: Path, out: Path, rows: int) -> None:
    """Train the small world's base model for the study's steps and save it."""
    torch.set_num_threads(1)
    study = load_study(study_file)
    size, work = Size("own"), Work(study.train.rollouts_per_prompt)
    trainer = make_trainer(study, size, study.train.steps, rows, out, work)
    trainer.train()
    trainer.save_model(str(out))


if __name__ == "__main__":
    whole_run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
