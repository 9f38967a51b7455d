"""Audit, part 3: how significant the reported differences to GRPO are, under assumptions that are stated.

unpaired   the two runs' problems are different problems: binomial error of both
paired     the same problems; outcomes of two runs correlate with ρ over them. Not reported, so a parameter; one
           value for it follows from the beta difficulty that has GRPO's own pass@4 and pass@8
best       the same problems, fixed; each entry the maximum of E evaluations of a flat curve, so its error is the
           spread of a maximum. Sampling error alone: as if a second training run gave the same weights
runs       the two hardware runs of each configuration as repeats: a difference is compared with their spread
           around the tables' means. This is run-to-run error, as far as two runs with one seed show it
"""

from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from hdpo.claims.reported import COLUMNS, PROBLEMS
from hdpo.claims.results import BASELINE
from hdpo.stats.paired import mean_squares
from hdpo.stats.power import Components, holm, minimal_effect, required_problems_for_shares, required_seeds, two_sided_p
from hdpo.stats.proportions import (
    correlation_needed,
    difference_se,
    largest_correlation,
    largest_discordance,
    z_p_value,
)
from hdpo.stats.selection import Difficulty, fit_difficulty, maximum_moments

EVALUATIONS = 200  # 2000 steps, one evaluation every 10, the best reported
ALL = "all HDPO runs"
SAMPLES_OF = {"greedy": 1, "pass@4": 4, "pass@8": 8}  # k; greedy decoding has no draws, k = 1 stands in for it


def reported_difficulty(reported: pd.DataFrame) -> Difficulty:
    """The beta difficulty with the pass@4 and pass@8 of GRPO in the paper's first table."""
    first = reported[reported["run"] == BASELINE].sort_values("table").iloc[0]
    return fit_difficulty(4, first[COLUMNS["pass@4"]], 8, first[COLUMNS["pass@8"]])


def differences(reported: pd.DataFrame, difficulty: Difficulty) -> pd.DataFrame:
    """One row per table × HDPO run × metric: difference to GRPO of the same table, and its z and p by assumption.

    Columns: table, run, metric, value, baseline, diff (shares); problems (net, of 2048); se_unpaired, z_unpaired,
    p_unpaired; rho (from difficulty), z_paired, p_paired; rho_needed (for |z| ≥ 1.96), rho_largest (that these shares
    allow); discordant (most problems that may differ for McNemar's exact p ≤ .05); se_best, z_best; holm_unpaired
    (adjusted over all rows).
    """
    rows, spread = [], maximum_moments(EVALUATIONS)[1][-1]
    for table, entries in reported.groupby("table"):
        by_run = entries.set_index("run")
        for run, (metric, column) in product(by_run.index.drop(BASELINE), COLUMNS.items()):
            value, base = float(by_run.loc[run, column]), float(by_run.loc[BASELINE, column])
            diff, k, net = round(value - base, 6), SAMPLES_OF[metric], round(value * PROBLEMS) - round(base * PROBLEMS)
            rho, se = difficulty.correlation(k), difference_se(base, value, PROBLEMS)
            unpaired, paired = diff / se, diff / difference_se(base, value, PROBLEMS, rho)
            se_best = np.sqrt(2) * spread * difficulty.noise(k, PROBLEMS)
            row = {"table": table, "run": run, "metric": metric, "value": value, "baseline": base, "diff": diff}
            row |= {"problems": net, "se_unpaired": se, "z_unpaired": unpaired, "p_unpaired": z_p_value(unpaired)}
            row |= {"rho": rho, "z_paired": paired, "p_paired": z_p_value(paired)}
            row |= {"rho_needed": correlation_needed(base, value, PROBLEMS)}
            row |= {"rho_largest": largest_correlation(base, value), "discordant": largest_discordance(net, PROBLEMS)}
            rows.append(row | {"se_best": se_best, "z_best": diff / se_best})
    frame = pd.DataFrame(rows)
    return frame.assign(holm_unpaired=holm(frame["p_unpaired"].to_numpy()))


def repeats(reported: pd.DataFrame, metric: str) -> tuple[pd.Series, float, int]:
    """Both tables as repeats of one experiment of C runs: two-way analysis of variance, tables' means taken out.

    Returns each run's mean of both tables, the standard deviation of one run, and its C − 1 degrees of freedom.
    """
    wide = reported.pivot(index="run", columns="table", values=COLUMNS[metric])
    df = (wide.shape[0] - 1) * (wide.shape[1] - 1)
    return wide.mean(axis=1), float(np.sqrt(mean_squares(wide.to_numpy())[2])), df


def both_tables(reported: pd.DataFrame) -> pd.DataFrame:
    """Differences to GRPO over both tables against the spread between repeats.

    Columns: run ("all HDPO runs" last), metric, diff, sd_run, se, df, half (of the 95 % interval), t, p, holm (over the
    single runs), detectable (80 % power with these errors), seeds (per method, paired t-test with this spread, 80 %).
    """
    rows, tables = [], reported["table"].nunique()
    for metric in COLUMNS:
        means, sd, df = repeats(reported, metric)
        runs = list(means.index.drop(BASELINE))
        for name, members in ({run: [run] for run in runs} | {ALL: runs}).items():
            diff = round(float(means[members].mean() - means[BASELINE]), 8)
            share = 1 / len(members) + 1  # of a run's variance, in the difference of one table
            se, per_seed = sd * np.sqrt(share / tables), Components(seed=sd**2 * share, problem=0.0, rest=0.0)
            row = {"run": name, "metric": metric, "diff": diff, "sd_run": sd, "se": se, "df": df}
            row |= {"half": float(student_t.ppf(0.975, df)) * se, "t": diff / se, "p": two_sided_p(diff, se, df)}
            row |= {"detectable": minimal_effect(se, df)}
            rows.append(row | {"seeds": required_seeds(diff, per_seed, PROBLEMS) if diff else None})
    frame = pd.DataFrame(rows)
    return frame.assign(holm=holm(frame["p"].where(frame["run"] != ALL).to_numpy()))  # nan is no test


def required_sizes(frame: pd.DataFrame) -> pd.DataFrame:
    """Problems that would show each reported difference with 80 % power at two-sided 5 %, from `differences`.

    Columns: table, run, metric, diff, unpaired, half (correlation 0.5), difficulty (correlation `rho`). Sampling error
    alone, one run each; None where the difference is 0.
    """
    sizes = frame[["table", "run", "metric", "diff"]].copy()
    for name, correlations in {"unpaired": 0.0, "half": 0.5, "difficulty": frame["rho"]}.items():
        assumed = frame.assign(assumed=correlations)[["baseline", "value", "assumed"]].to_numpy()
        needed = [required_problems_for_shares(*row) if row[0] != row[1] else None for row in assumed]
        sizes[name] = pd.array(needed, dtype="Int64")
    return sizes


def selection_bias(difficulty: Difficulty, correlations: tuple[float, ...], problems: tuple[int, ...]) -> pd.DataFrame:
    """Bias and spread of "best of E evaluations" on a flat curve, in shares.

    Columns: metric, problems, evaluations (1 … 200 in steps), correlation (lag one), noise (one evaluation), bias, sd.
    """
    rows = []
    for correlation, (metric, k), count in product(correlations, SAMPLES_OF.items(), problems):
        (mean, sd), noise = maximum_moments(EVALUATIONS, correlation), difficulty.noise(k, count)
        for E in (1, 2, 5, 10, 20, 50, 100, EVALUATIONS):
            row = {"metric": metric, "problems": count, "evaluations": E, "correlation": correlation}
            rows.append(row | {"noise": noise, "bias": noise * mean[E - 1], "sd": noise * sd[E - 1]})
    return pd.DataFrame(rows)
