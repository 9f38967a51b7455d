"""The privileged teacher: the same network, shown the reference solution."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from hdpo.learning.jsd import teacher_top_k
from hdpo.model.forward import completion_hidden, per_token
from hdpo.model.language_model import LanguageModel
from hdpo.model.sequences import Sequences
from hdpo.model.tokenizer import encode
from hdpo.sampling.backend import load_sampler
from hdpo.sampling.sampler import Sampler
from hdpo.sampling.vllm_sampler import VllmSampler
from hdpo.study.study import Run
from hdpo.system import ranks
from hdpo.tasks import Problem
from hdpo.tasks.scoring import Scorer


@dataclass(frozen=True)
class Pairs:
    """The same completions, token for token, under the student's prompts and the teacher's."""

    student: Sequences
    teacher: Sequences

    def __len__(self) -> int:
        return len(self.student)


@dataclass(frozen=True)
class Demonstrations(Pairs):
    """The paper's set T: correct privileged rollouts, under the student's prompt x and the teacher's x ⊕ y*."""

    drawn: int  # privileged rollouts before the R = 1 filter
    drawn_tokens: int
    passed_tokens: int = 0  # that drawing them passed through the network, each prompt once
    verdicts: Counter[str] = field(default_factory=Counter)  # of those drawn, as in `Judged`
    echoes: int = 0  # demonstrations that only repeat y*, which R = 1 cannot see; counted where verdicts are
    correct: int = 0  # of those drawn
    ids: tuple[str, ...] = ()  # of the problem of each demonstration


NO_DEMONSTRATIONS = Demonstrations(Sequences([], []), Sequences([], []), 0, 0)


def load_teacher(
    run: Run, policy: LanguageModel, load_initial: Callable[[], LanguageModel], scorer: Scorer
) -> "Teacher | None":
    """The teacher that the run's method asks for by `teacher_kind`: None, the policy itself, or a copy of it."""
    kind, study = run.method.teacher_kind, run.study
    if kind is None:
        return None
    model = policy if kind == "drifting" else load_initial()
    sampler = load_sampler(study, model, study.base_path, scorer.tokenizer.eos_token_id)
    offload = study.hardware.offload_teacher and kind == "frozen" and not ranks.is_sharded(model)
    return Teacher(model, sampler, scorer, study.train.temperature, offload, run.method.teacher_decay)


class Teacher:
    """A model that sees hints: the policy itself (drifting), or a copy with the initial weights (frozen).

    A copy whose weights follow the policy's is their exponential moving average (EMA).
    """

    def __init__(
        self,
        model: LanguageModel,
        sampler: Sampler | VllmSampler,
        scorer: Scorer,
        temperature: float,
        offload: bool = False,
        decay: float | None = None,
    ) -> None:
        """Take a model as the teacher.

        Args:
            offload: the model waits in the CPU's memory while it is not asked.
            decay: of the moving average; None: the weights stay, or are the policy's own.
        """
        self.model, self.sampler, self.scorer, self.temperature = model, sampler, scorer, temperature
        self.device, self.offload, self.decay = model.device, offload, decay
        if offload:
            model.to("cpu")

    def demonstrate(
        self,
        problems: list[Problem],
        tries: int,
        random: torch.Generator,
        shown: list[str] | None = None,
        filtered: bool = True,
    ) -> Demonstrations:
        """Privileged rollouts ȳ ~ π_T(· | x ⊕ y*), `tries` for each problem, kept if R = 1 (section 3.2).

        Args:
            shown: what the teacher sees of each problem; None: x ⊕ y*.
            filtered: False keeps every rollout.
        """
        if not problems:
            return NO_DEMONSTRATIONS
        task, tokenizer = self.scorer.task, self.scorer.tokenizer
        shown = [task.privileged_prompt(problem) for problem in problems] if shown is None else shown
        with self._at_hand():
            privileged = self.sampler.sample(encode(tokenizer, shown), tries, self.temperature, random).sequences
        judged = self.scorer.judge(problems, privileged.completions)  # [problems, tries]
        correct = judged.rewards.flatten() >= 1  # R = 1
        kept = torch.nonzero(correct | (not filtered)).flatten().tolist()
        teacher = privileged.select(kept)
        plain = encode(tokenizer, [task.student_prompt(problem) for problem in problems])
        student = Sequences([plain[i // tries] for i in kept], teacher.completions)
        echoes = sum(task.is_echo(problems[i // tries], judged.texts[i]) for i in kept) if judged.verdicts else 0
        return Demonstrations(
            student,
            teacher,
            drawn=len(privileged),
            drawn_tokens=int(privileged.lengths.sum()),
            passed_tokens=privileged.passed(share_prompts=True),
            verdicts=judged.verdicts,
            echoes=echoes,
            correct=int(correct.sum()),
            ids=tuple(problems[i // tries].id for i in kept),
        )

    @torch.no_grad()
    def targets(self, batches: list[Sequences], top_k: int) -> list[tuple[Tensor, Tensor]]:
        """The teacher's top k at each completion token of each batch: log-probs and tokens, [M, K] each."""
        largest = partial(teacher_top_k, k=top_k)
        with self._at_hand():
            hidden = (completion_hidden(self.model, batch) for batch in batches)
            return [per_token(self.model, largest, states) for states in hidden]

    @torch.no_grad()
    def follow(self, policy: LanguageModel) -> None:
        """Move a moving average by one step: decay · its own weights + (1 − decay) · the policy's."""
        if self.decay is not None:
            for own, new in zip(self.model.parameters(), policy.parameters(), strict=True):
                own.lerp_(new, 1 - self.decay)

    @contextmanager
    def _at_hand(self) -> Iterator[None]:
        """Inside, the teacher is on its device; outside, an offloaded one waits in the CPU's memory."""
        if self.offload:
            self.model.to(self.device)
        yield
        if self.offload:
            self.model.to("cpu")
