"""HDPO in TRL: GRPO, and on prompts whose rollouts all fail a distillation from the model that is shown a solution."""

from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, ClassVar

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from trl import GRPOTrainer

from hdpo.learning.cliffs import cliff_mask
from hdpo.system.errors import UserError
from hdpo.trl.config import HDPOConfig
from hdpo.trl.demonstrations import Batch, Demonstration, deal, divergence
from hdpo.trl.hints import MakePrompt, check_hints, from_hint, is_echo
from hdpo.trl.hooks import check_hooks
from hdpo.trl.initial import load_initial, prepare


class HDPOTrainer(GRPOTrainer):
    """`GRPOTrainer` with HDPO's term (arXiv:2603.23871): L = L_GRPO + λ · L_JSD.

    The loss of GRPO is TRL's, untouched. A prompt is a cliff if the rewards of its rollouts add up to 0. The model is
    then shown a hint, and its rollouts that earn a reward of 1 are distilled into the model without the hint:

        L_JSD = 1/N_tok Σ_demonstrations Σ_t JSD_k(teacher(· | x ⊕ y*, ȳ_<t) ‖ student(· | x, ȳ_<t))

    with N_tok tokens of demonstrations in the whole step, over all processes. Every argument of `GRPOTrainer` is taken.

    Args:
        privileged_prompt: x ⊕ y* of an example, a text or messages like its `prompt`. None: the template of
            `HDPOConfig` with the hint of the data set.

    Raises:
        UserError: arguments, data or the installed TRL do not suit; where it can be known, before a model is loaded.
    """

    _tag_names = ("trl", "hdpo")
    _name = "HDPO"
    _paper: ClassVar[dict[str, str]] = {  # for the model card
        "title": "HDPO: Hybrid Distillation Policy Optimization via Privileged Self-Distillation",
        "id": "2603.23871",
        "citation": "Ken Ding. HDPO. arXiv:2603.23871, 2026.",
    }
    model_wrapped: Any  # these are TRL's
    _logs: dict[str, Any]
    _metrics: dict[str, dict[str, list[float]]]
    _pending_metrics: dict[str, list[float]]
    _pending_extra_logs: dict[str, list[Any]]

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: HDPOConfig | None = None,
        train_dataset: Any = None,
        *others: Any,
        privileged_prompt: MakePrompt | None = None,
        **more: Any,
    ) -> None:
        if not isinstance(args, HDPOConfig):
            raise UserError(f"args: expected an HDPOConfig, got {type(args).__name__}")
        check_hooks()
        self._privileged_prompt = privileged_prompt or from_hint(args)
        self._parts: list[list[Batch]] = []  # of each micro-batch, its batches of demonstrations
        self._n_tokens = 0  # N_tok of this step
        self._jsd_sum = 0.0
        initial = None
        if args.distill_weight > 0:
            for name in ("tools", "rollout_func", "environment_factory"):
                if more.get(name):
                    raise UserError(f"{name}: HDPO draws its privileged rollouts in one turn of the model")
            if privileged_prompt is None:
                check_hints(train_dataset, args.hint_column)
            initial = load_initial(model, args, more)
        super().__init__(model, reward_funcs, args, train_dataset, *others, **more)
        self._initial = prepare(initial, self) if initial is not None else None
        self._has_adapters = hasattr(self.model, "disable_adapter")
        if args.success_reward not in (None, *self.reward_func_names):
            raise UserError(f"success_reward: expected one of {', '.join(self.reward_func_names)}")
        if args.distill_weight > 0:
            if self._is_vlm:
                raise UserError("HDPO takes texts only; this processing class is for images as well")
            self._make_room_in_logs()

    # Which prompts are cliffs

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        self._rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if self.args.distill_weight > 0:
            self._log_completion_extra("source", ["rollout"] * len(prompts))
        return self._rewards

    def _success(self, rewards: Tensor) -> Tensor:
        """R of each completion, [N], from the rewards of each function, [N, F]; NaN where no function gave one."""
        if self.args.success_reward is not None:
            return rewards[:, self.reward_func_names.index(self.args.success_reward)]
        total = (rewards * self.reward_weights.to(rewards.device)).nansum(1)
        return total.masked_fill(rewards.isnan().all(1), torch.nan)

    def _generate_and_score_completions(self, inputs):
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        if self.args.distill_weight > 0:
            self._make_room_in_logs()
        batch = super()._generate_and_score_completions(inputs)
        is_cliff = cliff_mask(self._success(self._rewards).view(-1, self.num_generations))  # of all processes, [P]
        self._log("cliffs", int(is_cliff.sum()))
        self._log("cliff_share", int(is_cliff.sum()) / len(is_cliff))
        if self.args.distill_weight > 0:
            first, own = self.accelerator.process_index * len(inputs), []
            for row in (is_cliff.nonzero().flatten() * self.num_generations).tolist():
                if first <= row < first + len(inputs):  # each cliff is told by the process of its first rollout
                    own.append(inputs[row - first])
            self._demonstrate(gather_object(own)[: self.args.max_cliffs])
        return batch

    # Their demonstrations

    def _demonstrate(self, cliffs: list[dict[str, Any]]) -> None:
        """Draw privileged rollouts of the cliffs, keep those with R = 1 and deal them to this step's micro-batches."""
        rank, size = self.accelerator.process_index, self.accelerator.num_processes
        tries = self.args.privileged_rollouts
        kept: list[Demonstration] = []
        echoes: list[bool] = []
        if cliffs:
            shown = [self._privileged_prompt(example) for example in cliffs]
            # Every process draws equally often, as vLLM's server and gathering want; what is too much is dropped.
            own = [rank + size * i for i in range(-(-len(cliffs) // size)) for _ in range(tries)]
            rows = [cliffs[i % len(cliffs)] for i in own]
            teacher, completion_ids, completions, success = self._draw(rows, [shown[i % len(cliffs)] for i in own])
            student = self._tokenize_prompts([row["prompt"] for row in rows])[0]
            for i, row in enumerate(rows):
                if own[i] < len(cliffs) and success[i] >= 1 and completion_ids[i]:  # R = 1
                    kept.append(Demonstration(*map(tuple, (student[i], teacher[i], completion_ids[i]))))
                    if row.get(self.args.hint_column) is not None:
                        echoes.append(is_echo(completions[i], row[self.args.hint_column]))
        everyone, echoes = gather_object(kept), gather_object(echoes)
        self._n_tokens = sum(len(one.completion) for one in everyone)
        steps, equally = self.args.steps_per_generation, self.is_fsdp_enabled or self.is_deepspeed_enabled
        self._parts = deal(everyone, steps, self._train_batch_size, rank, size, equally)
        drawn = len(cliffs) * tries
        self._log("kept", len(everyone))
        self._log("tokens", self._n_tokens)
        self._log("privileged_pass_rate", len(everyone) / drawn if drawn else torch.nan)
        self._log("echo_share", sum(echoes) / len(echoes) if echoes else torch.nan)

    def _draw(self, rows: list[dict], shown: list) -> tuple[list, list, list, Tensor]:
        """Privileged rollouts: ids of prompts, ids of completions, completions, and R of each as an answer to x."""
        plain, first = [row["prompt"] for row in rows], self.accelerator.process_index * len(rows)
        with self._aside(), self._as_teacher():
            prompt_ids, completion_ids, _, completions, *_ = self._generate(shown)
            rewards = super()._calculate_rewards(rows, plain, completions, completion_ids)
        self._metrics["train"]["num_tokens"] = [self.state.num_input_tokens_seen]
        logs, count = self._logs, len(rewards)
        logs["prompt"].extend(gather_object(shown))
        logs["completion"].extend(gather_object(completions))
        logs["advantages"].extend([torch.nan] * count)
        for name, column in zip(self.reward_func_names, rewards.T.tolist(), strict=True):
            logs["rewards"][name].extend(column)
        for name, values in logs["extra"].items():
            values.extend(["privileged" if name == "source" else None] * count)
        return prompt_ids, completion_ids, completions, self._success(rewards)[first : first + len(rows)]

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Inside, TRL draws `privileged_rollouts` of a prompt, and what it logs does not mix with the student's."""
        names = ("_metrics", "_pending_metrics", "_pending_extra_logs", "num_generations")
        before = {name: getattr(self, name) for name in names}
        self._metrics = {mode: defaultdict(list) for mode in self._metrics}
        self._pending_metrics, self._pending_extra_logs = defaultdict(list), defaultdict(list)
        self.num_generations = self.args.privileged_rollouts
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    @contextmanager
    def _as_teacher(self) -> Iterator[None]:
        """Inside, TRL's way of generating uses the teacher's weights."""
        policy, engine = self.model_wrapped, getattr(self, "vllm_generation", None)
        with self._without_adapters():
            if self._initial is not None:
                self.model_wrapped = self._initial
                if engine is not None:
                    engine.model, self._last_loaded_step = self._initial, -1
            try:
                yield
            finally:
                self.model_wrapped = policy
                if engine is not None and self._initial is not None:
                    engine.model, self._last_loaded_step = self.model, -1

    def _without_adapters(self) -> Any:
        frozen = self.args.teacher == "frozen" and self._has_adapters
        return self.accelerator.unwrap_model(self.model).disable_adapter() if frozen else nullcontext()

    # The loss

    def _compute_loss(self, model, inputs):
        loss = super()._compute_loss(model, inputs)  # L_GRPO
        if not (self.model.training and self._n_tokens):
            return loss
        total, settings = loss.new_zeros(()), (self.args.distill_top_k, self.args.tail, self._tokenizer.pad_token_id)
        for batch in self._parts[self._step % self.args.steps_per_generation]:
            with self.accelerator.autocast():
                total = total + divergence(model, self._teacher(), batch, loss.device, *settings)
        self._jsd_sum += float(total.detach())
        if self.accelerator.sync_gradients:
            jsd = self.accelerator.reduce(torch.tensor(self._jsd_sum, device=loss.device), reduction="sum")
            self._log("jsd", float(jsd) / self._n_tokens)
            self._jsd_sum = 0.0
        # Processes' gradients are averaged, so a mean over all tokens takes their number as a factor.
        return loss + self.args.distill_weight * self.accelerator.num_processes / self._n_tokens * total

    @contextmanager
    def _teacher(self) -> Iterator[nn.Module]:
        """The teacher's model, without dropout."""
        if self._initial is not None:
            yield self._initial
            return
        with self._without_adapters():
            self.model.eval()
            try:
                yield self.model
            finally:
                self.model.train()

    # Logs

    def _log(self, name: str, value: float) -> None:
        self._metrics["train"][f"hdpo/{name}"].append(value)

    def _make_room_in_logs(self) -> None:
        """Empty the table of completions, with room for this step's rollouts and privileged ones."""
        tries, size = self.args.privileged_rollouts, self.accelerator.num_processes
        column: Any = partial(deque, maxlen=self.args.generation_batch_size + tries * (self.args.max_cliffs + size))
        self._logs = {
            name: defaultdict(column) if isinstance(log, dict) else column() for name, log in self._logs.items()
        }
