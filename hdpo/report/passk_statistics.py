"""pass@k of every run with its sampling error and posterior: the uncertainty that the drawn samples leave."""

import numpy as np
import pandas as pd

from hdpo.claims.results import Results
from hdpo.stats.passk import pass_at_k
from hdpo.stats.passk_uncertainty import fit_prior, pass_at_k_se, posterior
from hdpo.study.study import BASE_RUN

COLUMNS = [
    *("run", "k", "seeds", "samples", "mean", "se_samples", "se_problems"),
    *("prior_a", "prior_b", "posterior", "posterior_low", "posterior_high"),
]


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
            row = {"run": run, "k": k, "seeds": len(C), "samples": n, "mean": scores.mean(), "se_samples": sampling}
            row |= {"se_problems": scores.mean(axis=0).std(ddof=1) / np.sqrt(C.shape[1])}
            row |= {"prior_a": prior[0], "prior_b": prior[1]}
            rows.append(row | {"posterior": center, "posterior_low": low, "posterior_high": high})
    return pd.DataFrame(rows, columns=COLUMNS)
