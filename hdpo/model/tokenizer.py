"""Text to token ids and back, for folders that carry a plain tokenizer.json."""

from pathlib import Path

from tokenizers import Tokenizer

from hdpo.system.files import read_json


class WordTokenizer:
    """What the kit uses of a transformers tokenizer, straight from the `tokenizers` library.

    The small world's: a process that needs nothing else of transformers starts a second sooner without it. One text at
    a time: for texts of some twenty tokens the library's batches spend more on waking threads than these save.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rust = Tokenizer.from_file(str(folder / "tokenizer.json"))
        eos = read_json(folder / "tokenizer_config.json").get("eos_token")
        self.eos_token_id = self.rust.token_to_id(eos) if isinstance(eos, str) else None

    def __len__(self) -> int:
        return self.rust.get_vocab_size()

    def __call__(self, texts: list[str], add_special_tokens: bool = False) -> dict[str, list[list[int]]]:
        return {"input_ids": [self.rust.encode(text, add_special_tokens=add_special_tokens).ids for text in texts]}

    def batch_decode(self, sequences: list[list[int]], skip_special_tokens: bool = False) -> list[str]:
        return [self.rust.decode(ids, skip_special_tokens=skip_special_tokens) for ids in sequences]

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((self.folder / name).read_bytes())
