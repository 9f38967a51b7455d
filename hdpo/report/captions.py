"""The words of each figure: title, caption, and an alternative text for readers who cannot see it."""

from hdpo.report.reasons import LEVEL

INTERVALS = f"{100 * LEVEL:g} % intervals"

# Stem below the study's folder: title, caption, alternative text. Captions say what is drawn, never how it came out.
FIGURES: dict[str, tuple[str, str, str]] = {
    "figures/tradeoff": (
        "Greedy accuracy against pass@8",
        "Both as differences to GRPO in points. Left: this study's final weights on"
        f" the test problems, with paired {INTERVALS}. Right: the paper's entries, best over training, one seed"
        " (hollow: its second hardware run). Lines join the runs of one method by growing λ, from GRPO on.",
        "Two scatter plots with GRPO at the origin: this study's HDPO runs with error bars, and the paper's entries.",
    ),
    "figures/pass_at_k": (
        "pass@k against k",
        "Above: unbiased pass@k of the final weights on the test problems. Below: the difference to GRPO, with paired"
        f" {INTERVALS}. One column per teacher or method.",
        "Curves of pass@k over k for base model, GRPO and HDPO by λ, and below them differences to GRPO.",
    ),
    "figures/learning_curves": (
        "Learning curves",
        "Scores on the validation problems during training, mean over seeds; bands reach from the lowest to the"
        " highest seed. One row per teacher or method.",
        "Grid of line plots: validation scores over training steps for GRPO and HDPO by λ.",
    ),
    "figures/cliffs": (
        "Cliffs and the privileged teacher",
        "Share of a step's prompts where every rollout fails, and of the privileged rollouts on them that are"
        " correct; running means over steps, bands over seeds.",
        "Grid of line plots over training steps: share of cliff prompts, and share of correct privileged rollouts.",
    ),
    "theory/theory-cliff": (
        "How likely a cliff is, and how long it lasts",
        "Left: probability that all rollouts of a group fail, by success probability. Right: steps to the first"
        " non-zero update; lines are formulas, points simulations.",
        "Two line plots over the success probability: chance of a cliff, and waiting time of GRPO and HDPO.",
    ),
    "theory/theory-climb": (
        "The climb from a small success probability",
        "Steps until half of the rollouts succeed, by initial success probability and trajectory length; lines are"
        " mean-field formulas, points simulations.",
        "Line plots of steps over initial success probability for GRPO and HDPO.",
    ),
    "theory/theory-limit": (
        "Proposition 2: the limit of small β",
        "Total variation between the KL-regularised optimum and the filtered reference policy against 1/β; lines are"
        " the closed form, points come from gradient ascent.",
        "Falling lines with points on them: distance to the filtered policy over inverse β.",
    ),
    "theory/theory-rejection": (
        "Proposition 2: rejection sampling",
        "Left: distance of n accepted draws to the target. Right: p-values of a goodness-of-fit test over repetitions.",
        "A falling curve on logarithmic axes, and a histogram of p-values.",
    ),
    "theory/theory-students": (
        "What limited students keep of a teacher",
        "A bell-shaped student fitted to a filtered teacher with two modes, under three divergences.",
        "Three bar charts of the teacher's distribution with the fitted student as a line.",
    ),
    "theory/theory-proxy": (
        "The privileged policy as a proxy",
        "Left: distance of the filtered privileged policy to its target against the bits that the hint leaks. Right:"
        " the teacher's success.",
        "Two line plots over leaked bits, one line per kind of hint.",
    ),
    "theory/theory-tightness": (
        "Lemma 1: how tight",
        "KL over the sharper form of Lemma 1's bound against the range of the logit difference.",
        "Scatter of random logits below a falling line of suprema, with adversarial points on the line.",
    ),
    "theory/theory-bounds": (
        "Proposition 1: bounds and gaps",
        "Random linear models. Left: gap against bound for a same-model and a cross-model teacher. Right: the two gaps"
        " of each pair; below the line the cross-model teacher is nearer.",
        "Two scatter plots on logarithmic axes with a diagonal.",
    ),
    "theory/theory-model-gap": (
        "Proposition 1 on the base model",
        "The base model's gap at each token against the bound from the same forward passes.",
        "Scatter plot on logarithmic axes with a diagonal.",
    ),
    "audit/audit_grid": (
        "The grid of the reported values",
        "How many of the reported values are shares of n problems, for every n; the line is what chance would give.",
        "Scatter plot: number of values that fit, over the number of problems.",
    ),
    "audit/audit_differences": (
        "Reported differences to GRPO",
        f"Per metric and run, with {INTERVALS} under each assumption.",
        "Panels of points with error bars, one row per HDPO run and assumption.",
    ),
    "audit/audit_correlation": (
        "What pairing would have to achieve",
        "z of each reported difference against the correlation of the two runs' outcomes over problems; inside the"
        " shaded band a difference is not significant. The dotted line is the correlation that the assumed difficulty"
        " of problems implies.",
        "Line plots of z over the correlation, one line per HDPO run, with a shaded band.",
    ),
    "audit/audit_selection": (
        "Selection on the maximum",
        "How much the best of E evaluations of a flat curve exceeds its mean: by metric and correlation of the noise,"
        " and by number of problems.",
        "Rising line plots of the bias over the number of evaluations.",
    ),
}
