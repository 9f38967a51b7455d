"""Wider statistics of a study: clustered errors, robust summaries, sizes a study would need, Holm, and selection.

They change no verdict: the rules of hdpo/paper/claims.yaml were fixed before the run.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from hdpo.claims.check import claim_contrasts
from hdpo.claims.claims import AnyClaim, Direction, claims_of
from hdpo.claims.results import BASELINE, Results, compare, unbiased_metrics
from hdpo.render.document import Document, Section, write_document
from hdpo.render.table import write_text
from hdpo.report.curve_selection import curve_selection
from hdpo.report.statistics_tables import selection_table, statistics_table
from hdpo.stats.clustered import problem_se, seed_se, two_way_se
from hdpo.stats.paired import estimate
from hdpo.stats.passk import pass_at_k
from hdpo.stats.passk_uncertainty import fit_prior, pass_at_k_se, posterior
from hdpo.stats.power import holm, required_problems, required_seeds, variance_components
from hdpo.stats.proportions import mcnemar
from hdpo.stats.resample import percentile_interval
from hdpo.stats.robust import interquartile_mean, probability_of_improvement
from hdpo.study.study import BASE_RUN, Study

TARGET = 0.01  # one point: the size of the gains that the paper reports
TARGET_SEEDS = 10  # with which the problems for that are counted
ROBUST_RESAMPLES, ROBUST_SEED = 500, 0  # of the bootstrap, for statistics that have no closed form
COLUMNS = [
    *("run", "metric", "seeds", "diff", "se", "df", "se_seed", "se_problem", "se_two_way"),
    *("iqm", "iqm_baseline", "iqm_diff", "iqm_diff_low", "iqm_diff_high"),
    *("improvement", "improvement_low", "improvement_high"),
    *("gained", "lost", "mcnemar_p", "seeds_for_diff", "seeds_for_target", "problems_for_target"),
]
PASSK_COLUMNS = [
    *("run", "k", "seeds", "samples", "mean", "se_samples", "se_problems"),
    *("prior_a", "prior_b", "posterior", "posterior_low", "posterior_high"),
]


def write_statistics(study: Study, out: Path | None = None) -> list[Path]:
    """Write statistics.json, .md and .csv (runs), statistics_claims.csv (Holm), _passk.csv and _selection.csv.

    Raises:
        UserError: a result or the claims are damaged or belong elsewhere.
    """
    results = Results(study)
    runs, claims = run_statistics(results), claim_tests(results, claims_of(study))
    passk, selection = pass_at_k_statistics(results), curve_selection(results)
    stem = (out or study.root) / "statistics"
    for suffix, frame in (("", runs), ("_claims", claims), ("_passk", passk), ("_selection", selection)):
        write_text(stem.with_name(f"{stem.name}{suffix}.csv"), frame.to_csv(index=False, float_format="%.6f"))
    tables = (
        statistics_table("statistics-errors", runs, problems=study.task.problems.test),
        *(statistics_table("statistics-robust", runs), statistics_table("statistics-claims", claims)),
        *(statistics_table("statistics-passk", passk), selection_table(selection)),
    )
    section = Section("", tuple(filter(None, [results.codes])), tables)
    write_document(stem, Document(f"Statistics of study {study.name}", (section,)))
    return sorted(stem.parent.glob(f"{stem.name}*.*"))


def run_statistics(results: Results) -> pd.DataFrame:
    """One row per run but GRPO × metric, final weights on the test problems, over the seeds shared with GRPO.

    Missing runs have 0 seeds and no numbers; what needs two seeds is nan with one.
    """
    rows = []
    for metric in unbiased_metrics(results.study):
        scores = results.scores("test", metric)
        for run in (run for run in results.runs if run != BASELINE):
            seeds = sorted(set(scores.get(run, {})) & set(scores.get(BASELINE, {})))
            row = {"run": run, "metric": metric, "seeds": len(seeds)}
            if seeds:
                own, baseline = (np.stack([scores[name][seed] for seed in seeds]) for name in (run, BASELINE))
                row |= _pair_statistics(own, baseline, metric)
            rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _pair_statistics(run: np.ndarray, baseline: np.ndarray, metric: str) -> dict[str, object]:
    """Statistics of two runs with scores [S, Q] each, paired."""
    D = run - baseline
    row: dict[str, object] = {"diff": D.mean(), "se_problem": problem_se(D)}
    if len(D) > 1:
        parts, found = variance_components(D), estimate(D[None])
        row |= {"se": found.se[0], "df": found.df[0], "se_seed": seed_se(D), "se_two_way": two_way_se(D)}
        row |= {"seeds_for_target": _count(required_seeds(TARGET, parts, D.shape[1]))}
        row |= {"problems_for_target": _count(required_problems(TARGET, parts, TARGET_SEEDS))}
        row |= {"seeds_for_diff": _count(required_seeds(D.mean(), parts, D.shape[1])) if D.any() else np.nan}

    def interval(name: str, statistic, *samples: np.ndarray) -> dict[str, float]:
        generator = np.random.default_rng(ROBUST_SEED)
        ends = percentile_interval(
            statistic, *samples, design="crossed", generator=generator, resamples=ROBUST_RESAMPLES
        )
        return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))

    row |= interval("improvement", probability_of_improvement, run, baseline)
    if metric == "greedy":
        pairs = [mcnemar(*outcomes) for outcomes in zip(baseline, run, strict=True)]
        row |= {"gained": sum(pair.gained for pair in pairs), "lost": sum(pair.lost for pair in pairs)}
        row |= {"mcnemar_p": " ".join(f"{pair.p_value:.3g}" for pair in pairs)}
    else:
        row |= {"iqm": interquartile_mean(run), "iqm_baseline": interquartile_mean(baseline)}
        row |= interval("iqm_diff", lambda x, y: interquartile_mean(x) - interquartile_mean(y), run, baseline)
    return row


def pass_at_k_statistics(results: Results) -> pd.DataFrame:
    """One row per run × k of the study, final weights on the test problems; runs that are missing have no row.

    Columns: run, k, seeds, samples (n per problem), mean; se_samples (new samples, same problems and weights; nan where
    n < 2k), se_problems (new problems too, same weights: of the problems' means over seeds); prior_a, prior_b (beta
    difficulty fitted to the run's counts); posterior mean with its 95 % credible interval (same problems and weights).
    """
    rows, n = [], results.study.evaluate.test_samples
    for run in [BASE_RUN, *results.runs]:
        counts = [o.samples.sum(axis=-1, dtype=np.int64) for (name, _), o in results.final.items() if name == run]
        if not counts:
            continue
        C = np.stack(counts)  # [S, Q]
        prior = fit_prior(C, n)
        for k in results.study.evaluate.ks:
            scores = pass_at_k(C, n, k)
            sampling = np.sqrt(np.sum([pass_at_k_se(seed, n, k)[0] ** 2 for seed in C])) / len(C)
            center, low, high = posterior(C, n, k, prior).mean_interval()
            problems = scores.mean(axis=0).std(ddof=1) / np.sqrt(C.shape[1])
            rows.append((run, k, len(C), n, scores.mean(), sampling, problems, *prior, center, low, high))
    return pd.DataFrame(rows, columns=PASSK_COLUMNS)


def claim_tests(results: Results, claims: list[AnyClaim]) -> pd.DataFrame:
    """Two-sided p-value of each directional claim's contrast, alone and by Holm over all of them.

    The paper's claims are one family, those beyond it another. `p` below .05 says exactly that the 95 % interval
    behind the verdict excludes 0. Not run, or run with one seed: nan, and no member of the family.
    """
    rows = []
    for claim in claims:
        if not isinstance(claim, Direction):
            continue
        row = {"id": claim.id, "claim": claim.statement, "beyond": claim.beyond}
        row |= dict.fromkeys(("diff", "df", "p"), np.nan)
        found = compare(claim_contrasts(results, claim))[0]
        if found is not None:
            row |= {"diff": found.value, "df": found.df, "p": found.p}
        rows.append(row)
    frame = pd.DataFrame(rows, columns=["id", "claim", "beyond", "diff", "df", "p", "p_holm"])
    for beyond in (False, True):
        family = frame["beyond"] == beyond
        frame.loc[family, "p_holm"] = holm(frame.loc[family, "p"].to_numpy(dtype=float))
    return frame


def _count(value: int | None) -> float:
    return np.nan if value is None else float(value)
