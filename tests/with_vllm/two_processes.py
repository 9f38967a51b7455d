"""One process of two under torchrun: the policy sharded by FSDP2, each process drawing its half of the rollouts."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

from hdpo.model.loading import load_policy
from hdpo.sampling.vllm_sampler import Engine, VllmSampler

dist.init_process_group("gloo")
folder, work = sys.argv[1], Path(sys.argv[2])
policy = load_policy(folder)
for layer in policy.layers:
    fully_shard(layer)
fully_shard(policy)
sampler = VllmSampler(policy, 1, 20, Engine(folder, "float32", 512, 0.4))
prompts = torch.load(work / "prompts.pt")
drawn = sampler.sample(prompts, 1, 0.0)
torch.save([completion.tolist() for completion in drawn.sequences.completions], work / f"{dist.get_rank()}.pt")
sampler.sleep()
sampler.sample(prompts[:1], 1, 0.0)  # one process without work still gives its shards
dist.destroy_process_group()
