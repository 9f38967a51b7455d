"""HDPO's term in a plain GRPO loop of your own: python examples/own_loop.py [folder of a model].

Without a folder, a tiny random model is made on the spot. The prompts, the hints and the reward are made up: the
first half of the prompts are cliffs, where every rollout fails. GRPO learns nothing from them; the new term does.
"""

import copy
import sys

import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from hdpo import cliff_mask, clipped_surrogate, group_advantages, jsd_k, teacher_top_k

P, G, L, T, K = 8, 8, 6, 5, 16  # L: tokens of a prompt and of a hint
SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 64, "initializer_range": 0.4}
DISTILL_WEIGHT = 1.0  # λ


def main(folder: str | None = None, steps: int = 20) -> list[float]:
    """The student's mean JSD to the frozen teacher on each step's demonstrations, in nats."""
    torch.manual_seed(0)
    tiny = Qwen2Config(**SHAPE, num_attention_heads=2, num_key_value_heads=2)
    student = AutoModelForCausalLM.from_pretrained(folder) if folder else Qwen2ForCausalLM(tiny)
    teacher = copy.deepcopy(student)  # frozen; for the drifting teacher, use `student`
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3 if folder is None else 1e-6)
    x, hints = torch.randint(student.config.vocab_size, (2, P, L))  # x and y*, [P, L]
    divergences = []
    for _ in range(steps):
        # GRPO: rollouts, rewards, advantages, surrogate.
        prompts = x.repeat_interleave(G, 0)  # [P·G, L]
        y = sample(student, prompts)  # [P·G, T]
        rewards = (y[:, 0] % 2 == 0).float().view(P, G)  # R: is the first token even?
        rewards[: P // 2] = 0
        logp = logits(student, prompts, y).log_softmax(-1).gather(-1, y.unsqueeze(-1)).flatten()  # [M]
        advantages = group_advantages(rewards).flatten().repeat_interleave(T)  # [M]
        loss = clipped_surrogate(logp, logp.detach(), advantages, clip=0.2).mean()

        # HDPO: on the cliffs, the teacher sees y* as well; keep what it solves (here, all) and learn from it.
        cliffs = cliff_mask(rewards).nonzero().squeeze(1).repeat_interleave(4)  # the set C, four samples of each
        privileged = torch.cat([x, hints], 1)[cliffs]  # x ⊕ y*
        demonstrations = sample(teacher, privileged)  # the set T
        with torch.no_grad():
            target = teacher_top_k(logits(teacher, privileged, demonstrations).flatten(0, 1), K)
        jsd = jsd_k(logits(student, x[cliffs], demonstrations).flatten(0, 1), *target).mean()

        (loss + DISTILL_WEIGHT * jsd).backward()
        optimizer.step()
        optimizer.zero_grad()
        divergences.append(jsd.item())
    return divergences


def sample(model, prompts):
    """T tokens for each prompt, [N, T], at temperature 1."""
    options = {"do_sample": True, "top_k": 0, "max_new_tokens": T, "min_new_tokens": T, "pad_token_id": 0}
    return model.generate(prompts, attention_mask=torch.ones_like(prompts), **options)[:, prompts.shape[1] :]


def logits(model, prompts, y):
    """What predicts each token of `y` after its prompt, [N, T, V]."""
    return model(torch.cat([prompts, y], 1)).logits[:, prompts.shape[1] - 1 : -1]


if __name__ == "__main__":
    for step, jsd in enumerate(main(*sys.argv[1:2])):
        print(f"step {step}: JSD to the teacher on cliffs {jsd:.4f} nats")
