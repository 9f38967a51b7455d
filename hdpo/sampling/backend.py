"""`train.backend`: rollouts are drawn by the model itself or by vLLM, which holds a copy of its weights."""

from functools import cache
from importlib.util import find_spec

from hdpo.model.language_model import LanguageModel
from hdpo.sampling.sampler import Sampler
from hdpo.sampling.vllm_sampler import Engine, VllmSampler
from hdpo.study.study import Study
from hdpo.system.errors import UserError


def require_backend(study: Study) -> None:
    """Check that the study's backend is installed, before anything is loaded.

    Raises:
        UserError: the study samples with vLLM, which is not installed.
    """
    if study.train.backend == "vllm" and find_spec("vllm") is None:
        raise UserError(
            "train.backend 'vllm': vLLM is not installed; beside a GPU `pip install vllm`, elsewhere `make test-vllm`"
            " builds an environment with it; or set train.backend: transformers"
        )


def load_sampler(study: Study, model: LanguageModel, path: str, eos_token_id: int) -> Sampler | VllmSampler:
    """The study's sampler for a model. Its configuration lies at `path`.

    Raises:
        UserError: vLLM cannot run the model here.
    """
    length = study.train.max_response_tokens
    if study.train.backend == "transformers":
        return Sampler(model, eos_token_id, length)
    config = study.model
    engine = _engine(path, config.dtype, config.max_length, study.hardware.rollout_memory, config.revision)
    return VllmSampler(model, eos_token_id, length, engine)


# The process's one engine, shared by the samplers of policy and teacher.
_engine = cache(Engine)
