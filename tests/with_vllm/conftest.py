"""Models and their engines, one after the other for all modules: an engine takes seconds to start."""

from pathlib import Path

import pytest
import torch

from hdpo.sampling.vllm_sampler import Engine, VllmSampler
from helpers.vllm_models import EOS, LENGTH, MODELS, RESPONSE, VOCABULARY, load


@pytest.fixture(scope="session", params=MODELS)
def folder(request, tmp_path_factory) -> Path:
    """A random model, sharpened so that its distributions differ by context, in the folder format."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    model = MODELS[request.param]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def engine(folder) -> Engine:
    return Engine(str(folder), "float32", LENGTH, 0.4)


@pytest.fixture
def policy(folder, engine):
    engine.sleep()  # another model comes
    return load(folder)


@pytest.fixture
def sampler(policy, engine) -> VllmSampler:
    return VllmSampler(policy, EOS, RESPONSE, engine)


@pytest.fixture(scope="session")
def prompts() -> list[torch.Tensor]:
    """Short ones, and some of more than the 128 tokens from which vLLM keeps what it has read."""
    random = torch.Generator().manual_seed(1)
    return [torch.randint(2, VOCABULARY, (150 if i % 5 == 0 else 5 + i % 4,), generator=random) for i in range(15)]
