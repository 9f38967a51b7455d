"""Text to token ids and back."""

from pathlib import Path
from typing import Any, Protocol

import tokenizers
import torch
from torch import Tensor

from hdpo.system.files import read_json


class Tokenizer(Protocol):
    """What the kit asks of a tokenizer; transformers' own offer it too."""

    eos_token_id: Any  # an int: `load_tokenizer` refuses a tokenizer without it

    def __len__(self) -> int: ...

    def __call__(self, texts: list[str], add_special_tokens: bool = ...) -> Any: ...

    def batch_decode(self, sequences: list[list[int]], skip_special_tokens: bool = ...) -> list[str]: ...

    def save_pretrained(self, folder: Path) -> Any: ...


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[Tensor]:
    """Token ids of each text, without special tokens."""
    found = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []  # transformers' take no empty list
    return [torch.tensor(ids) for ids in found]


class WordTokenizer:
    """Reads a folder's plain tokenizer.json with the `tokenizers` library.

    A process that needs nothing else of transformers starts a second sooner without it. `__call__` encodes one text at
    a time: for texts of some twenty tokens the library's batches cost more in waking threads than they save.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rust = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        eos = read_json(folder / "tokenizer_config.json").get("eos_token")
        self.eos_token_id = self.rust.token_to_id(eos) if isinstance(eos, str) else None

    def __len__(self) -> int:
        return int(self.rust.get_vocab_size())

    def __call__(self, texts: list[str], add_special_tokens: bool = False) -> dict[str, list[list[int]]]:
        return {"input_ids": [self.rust.encode(text, add_special_tokens=add_special_tokens).ids for text in texts]}

    def batch_decode(self, sequences: list[list[int]], skip_special_tokens: bool = False) -> list[str]:
        return [self.rust.decode(ids, skip_special_tokens=skip_special_tokens) for ids in sequences]

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((self.folder / name).read_bytes())
