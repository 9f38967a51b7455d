"""HDPO in a GRPO script of TRL: python examples/trl_hdpo.py --model MODEL --problems FILE --output_dir OUT.

FILE is a JSON-lines file with `question`, `solution` and `answer`. A script for GRPO becomes one for HDPO by the two
names from `hdpo.trl` (instead of `GRPOConfig` and `GRPOTrainer` from `trl`), the weight λ and the column `hint`.
"""

import re
from dataclasses import dataclass

from datasets import load_dataset
from trl import TrlParser

from hdpo.trl import HDPOConfig, HDPOTrainer


@dataclass
class Script:
    model: str
    problems: str


def right(completions, answer, **_):
    """1 where the last number of a completion is the answer, else 0."""
    last = [(re.findall(r"-?\d+(?:\.\d+)?", text.replace(",", "")) or ["nan"])[-1] for text in completions]
    return [float(float(found) == float(key)) for found, key in zip(last, answer, strict=True)]


def main(arguments=None):
    script, args = TrlParser((Script, HDPOConfig)).parse_args_and_config(arguments)  # --distill_weight 0.1, ...
    data = load_dataset("json", data_files=script.problems, split="train")
    data = data.rename_columns({"question": "prompt", "solution": "hint"})
    trainer = HDPOTrainer(script.model, right, args, data)
    trainer.train()
    trainer.save_model()
    return trainer


if __name__ == "__main__":
    main()
