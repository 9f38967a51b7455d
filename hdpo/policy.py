"""The policy: a causal language model, and the one place that shifts and masks.

A batch is a list of prompts and a list of completions. Rows are padded on the right only, so causal attention
needs no padding mask, and every result comes back flattened to the M completion tokens, without padding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hdpo.errors import UserError
from hdpo.files import read_json


@dataclass(frozen=True)
class Sequences:
    """N prompts and their completions as 1-D token-id tensors; completions include the end token if there is one."""

    prompts: list[Tensor]
    completions: list[Tensor]

    def __len__(self) -> int:
        return len(self.completions)

    @property
    def lengths(self) -> Tensor:
        """Completion tokens of each sequence, [N]."""
        return torch.tensor([len(completion) for completion in self.completions], dtype=torch.long)

    @property
    def tokens(self) -> Tensor:
        """All completion tokens in order, [M]."""
        return torch.cat(self.completions) if self.completions else torch.empty(0, dtype=torch.long)

    def select(self, rows: list[int]) -> "Sequences":
        return Sequences([self.prompts[i] for i in rows], [self.completions[i] for i in rows])

    def token_index(self, rows: list[int]) -> Tensor:
        """Where the tokens of `rows` stand among all M tokens, in the order of `rows`."""
        ends = torch.cumsum(self.lengths, 0).tolist()
        return torch.cat([torch.arange(ends[i] - len(self.completions[i]), ends[i]) for i in rows])

    def micro_batches(self, rows: list[int], max_tokens: int) -> Iterator[list[int]]:
        """Split `rows` into groups of similar length with at most `max_tokens` padded tokens each (or one row)."""
        size = {i: len(self.prompts[i]) + len(self.completions[i]) for i in rows}
        group: list[int] = []
        for i in sorted(rows, key=lambda row: (-size[row], row)):
            if group and size[group[0]] * (len(group) + 1) > max_tokens:
                yield group
                group = []
            group.append(i)
        if group:
            yield group


def completion_logits(model: nn.Module, batch: Sequences) -> Tensor:
    """Logits that predict each completion token, [M, V]: position p−1+t of a row predicts its completion token t.

    Raises:
        ValueError: an empty prompt, which leaves the first completion token without a prediction.
    """
    rows, columns, sequences = [], [], []
    for row, (prompt, completion) in enumerate(zip(batch.prompts, batch.completions, strict=True)):
        if len(prompt) == 0:
            raise ValueError(f"sequence {row}: empty prompt")
        sequences.append(torch.cat([prompt, completion[:-1]]))  # the last token predicts nothing we need
        rows.append(torch.full((len(completion),), row))
        columns.append(torch.arange(len(prompt) - 1, len(prompt) - 1 + len(completion)))
    input_ids = nn.utils.rnn.pad_sequence(sequences, batch_first=True).to(model.device)  # [N, L]
    hidden = model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state  # [N, L, D]
    return model.get_output_embeddings()(hidden[torch.cat(rows), torch.cat(columns)]).float()  # [M, V]


def token_logp(logits: Tensor, tokens: Tensor) -> Tensor:
    """log π(token), [M], from logits [M, V] and tokens [M]."""
    return logits.log_softmax(-1).gather(-1, tokens[:, None].to(logits.device)).squeeze(-1)


def token_entropy(logits: Tensor) -> Tensor:
    """Entropy of each next-token distribution in nats, [M], from logits [M, V]."""
    logp = logits.log_softmax(-1)
    return -(logp.exp() * logp).sum(-1)


def load_policy(path: str | Path, dtype: str = "float32") -> nn.Module:
    """A Hugging Face causal LM from a folder or the hub, weights from safetensors only, no remote code.

    Raises:
        UserError: nothing there, or not a model.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    _require_folder(path, "config.json")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(path), dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False
        )
    except Exception as error:  # transformers raises many kinds; all mean that this is no usable model
        raise UserError(f"model {path}: cannot be loaded ({_one_line(error)})") from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def load_tokenizer(path: str | Path):
    """The tokenizer saved beside a model.

    Raises:
        UserError: nothing there, or no end-of-sequence token.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    _require_folder(path, "tokenizer.json")
    # AutoTokenizer reads every Qwen2 folder as Qwen's own byte-level tokenizer, whatever the folder says.
    config = Path(path) / "tokenizer_config.json"
    generic = config.is_file() and read_json(config).get("tokenizer_class") == "TokenizersBackend"
    try:
        tokenizer = (PreTrainedTokenizerFast if generic else AutoTokenizer).from_pretrained(
            str(path), trust_remote_code=False
        )
    except Exception as error:
        raise UserError(f"tokenizer {path}: cannot be loaded ({_one_line(error)})") from error
    if tokenizer.eos_token_id is None:
        raise UserError(f"tokenizer {path}: has no end-of-sequence token, so no response could ever end")
    return tokenizer


def encode(tokenizer, texts: list[str]) -> list[Tensor]:
    """Token ids of each text, without special tokens."""
    return [torch.tensor(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def _require_folder(path: str | Path, file: str) -> None:
    looks_local = str(path).startswith((".", "/", "results")) or Path(path).exists()
    if looks_local and not (Path(path) / file).is_file():
        raise UserError(f"model {path}: no {file} there; build it with `snakemake base` or set model.path")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
