"""Rollouts by vLLM in the training process and on its device, behind the interface of `hdpo.sampling.sampler.Sampler`.

A process has one engine for all models that it samples from. The engine starts without weights. It is given a model's
weights before that model first draws and again after every update, and never reads them from disk.
"""

import os
from typing import Any

import torch
from torch import Tensor

from hdpo.model.language_model import LanguageModel
from hdpo.model.sequences import Sequences
from hdpo.sampling.sampler import Rollouts
from hdpo.system import ranks
from hdpo.system.errors import UserError, brief
from hdpo.system.finite import require_finite

# Environment variables that vLLM reads: run the engine in this process, send no usage statistics, log errors only.
ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
CPU_CACHE_BYTES = 2**30  # of keys and values; on a GPU, hardware.rollout_memory bounds them
ROWS = 256  # decoded at a time; `hdpo.plan.memory` counts with as many
STARTED: list["Engine"] = []  # never freed: a garbage-collected engine destroys the process group, whoever made it


class VllmSampler:
    """Samples from a model at a temperature; 0 means greedy.

    The weights may change only after `sleep`: the engine holds a copy of them.
    """

    def __init__(self, model: LanguageModel, eos_token_id: int, max_response_tokens: int, engine: "Engine") -> None:
        self.model = model
        self.eos = eos_token_id
        self.max_tokens = max_response_tokens
        self.engine = engine

    def sample(
        self, prompts: list[Tensor], group: int, temperature: float, generator: torch.Generator | None = None
    ) -> Rollouts:
        """Draw `group` rollouts of each prompt. Every rank draws its share and returns all.

        Each rollout has a seed of its own from the generator. vLLM gives no entropies; −log π of the drawn token
        stands in for them, because its mean is the entropy.

        Raises:
            NotFinite: a sampled token has no finite log-probability, as happens under NaN weights.
            UserError: prompt and longest response together exceed `model.max_length`.
        """
        self.engine.load(self.model)  # even without prompts: other processes may wait for this one's shards
        if not prompts:
            return Rollouts(Sequences([], []), torch.empty(0), torch.empty(0))
        longest = max(map(len, prompts))
        if longest + self.max_tokens > self.engine.max_length:  # vLLM would cut responses short
            raise UserError(
                f"a prompt of {longest} tokens and train.max_response_tokens {self.max_tokens} are more than"
                f" model.max_length {self.engine.max_length}; raise it"
            )
        from vllm import SamplingParams

        repeated = [prompt for prompt in prompts for _ in range(group)]
        seeds: list[int | None] = [None] * len(repeated)
        if temperature > 0:
            device = generator.device if generator else "cpu"
            seeds = torch.randint(2**62, (len(repeated),), generator=generator, device=device).tolist()
        mine = ranks.share(list(zip(repeated, seeds, strict=True)))
        requests = [
            SamplingParams(
                temperature=temperature,
                seed=seed,
                max_tokens=self.max_tokens,
                stop_token_ids=[self.eos],
                ignore_eos=True,  # of the model's own configuration
                logprobs=0,  # of the drawn token only
                flat_logprobs=True,
                detokenize=False,
            )
            for _, seed in mine
        ]
        parts = ranks.gather(self.engine.generate([prompt for prompt, _ in mine], requests))
        completions, values = zip(*(completion for part in parts for completion in part), strict=True)
        logp = torch.cat(values)
        require_finite("log-probabilities of the sampled tokens", logp)
        return Rollouts(Sequences(repeated, list(completions)), logp, -logp)

    def sleep(self) -> None:
        """Free the GPU's memory for the update, and drop the weights that it is about to change."""
        self.engine.sleep()


class Engine:
    """vLLM with the architecture of one model and the weights that were loaded last."""

    def __init__(self, path: str, dtype: str, max_length: int, memory: float, revision: str | None = None) -> None:
        """Start vLLM.

        Args:
            memory: its share of the GPU's memory.
            revision: the hub's commit or tag.

        Raises:
            UserError: vLLM cannot run this model here.
        """
        self.max_length = max_length
        self.on_gpu = torch.cuda.is_available()
        self.loaded: LanguageModel | None = None
        self.is_asleep = False
        os.environ |= ENVIRONMENT if self.on_gpu else ENVIRONMENT | {"TORCHDYNAMO_DISABLE": "1"}
        from vllm import LLM

        if self.on_gpu:
            device: dict[str, Any] = {"gpu_memory_utilization": memory, "enable_sleep_mode": True}
        else:  # compiling takes half a minute; reading a prompt in parts needs a generator that can step back
            device = {"kv_cache_memory_bytes": CPU_CACHE_BYTES, "enforce_eager": True, "enable_chunked_prefill": False}
        try:
            self.llm = LLM(
                path,
                revision=revision,
                dtype=dtype,
                max_model_len=max_length,
                max_num_seqs=ROWS,
                max_num_batched_tokens=max(16_384, max_length),
                load_format="dummy",  # `load` brings the weights
                skip_tokenizer_init=True,
                generation_config="vllm",  # a request alone decides, not the model's own configuration
                logprobs_mode="processed_logprobs",  # at the sampling temperature
                distributed_executor_backend="external_launcher" if "LOCAL_RANK" in os.environ else None,
                seed=0,
                trust_remote_code=False,
                **device,
            )
        except Exception as error:  # vLLM raises many kinds: unknown architecture, too little memory, ...
            raise UserError(f"train.backend 'vllm': cannot run {path} ({brief(error)})") from error
        STARTED.append(self)
        if not self.on_gpu:
            _require_known_heads(path, self.llm.model_config.get_head_size())

    def load(self, model: LanguageModel) -> None:
        """Load the model's weights unless they are there. Sharded weights are gathered, so all processes must call."""
        if self.is_asleep:
            torch.cuda.empty_cache()  # of the update
            self.llm.wake_up()
            self.is_asleep = False
        if self.loaded is not model:
            self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": model.weights()})
            if not self.on_gpu:
                self.llm.apply_model(_pack_head)
            self.loaded = model

    def generate(self, prompts: list[Tensor], requests: list[Any]) -> list[tuple[Tensor, Tensor]]:
        """One completion of each prompt: tokens and their log-probs, [T] each.

        The result depends on weights, prompts and requests, not on earlier calls.
        """
        self.llm.reset_prefix_cache()  # it may be of other weights, and a cached prompt rounds differently
        inputs = [{"prompt_token_ids": prompt.tolist()} for prompt in prompts]
        drawn = [output.outputs[0] for output in self.llm.generate(inputs, requests, use_tqdm=False)] if inputs else []
        return [(torch.tensor(one.token_ids), torch.tensor(list(one.logprobs.logprobs))) for one in drawn]

    def sleep(self) -> None:
        """Drop the weights; on a GPU, free their memory and that of the keys and values."""
        self.loaded = None
        if self.on_gpu and not self.is_asleep:
            self.llm.sleep(level=2)  # level 1 would keep a copy of the weights, which are never used again
            self.is_asleep = True


def _pack_head(model: Any) -> None:
    """Renew vLLM's packed copy of the head on a CPU: reloading leaves out a head that is tied to the embedding."""
    model.lm_head.quant_method.process_weights_after_loading(model.lm_head)


def _require_known_heads(path: str, size: int) -> None:
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    known = CPUAttentionBackend.get_supported_head_sizes()
    if size not in known:
        raise UserError(
            f"train.backend 'vllm': {path} has attention heads of size {size}, vLLM's CPU kernels know"
            f" {', '.join(map(str, known))}; set train.backend: transformers"
        )
