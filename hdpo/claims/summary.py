"""The study's summary: every mean, interval and difference to GRPO, one row per run × metric × protocol."""

from pathlib import Path

import numpy as np
import pandas as pd

from hdpo.claims.codes import stated_codes
from hdpo.claims.results import PROTOCOLS, Comparison, Results, metric_names
from hdpo.study.identity import content_hash
from hdpo.study.study import BASE_RUN, Study
from hdpo.system.files import write_atomic

COLUMNS = [
    *("run", "metric", "protocol", "split", "status", "seeds", "seeds_planned", "problems"),
    *("mean", "mean_low", "mean_high", "mean_df", "seed_sd"),  # over seeds; 95 % interval and its df; between seeds
    *("diff", "diff_low", "diff_high", "diff_df", "diff_se", "diff_mde", "diff_seeds"),  # to GRPO, paired
    *("config", "code", "test_code"),  # identity of the configuration, seed aside; the codes that trained and tested
]


def summarise(results: Results) -> pd.DataFrame:
    """One row per run × metric × protocol: mean, and difference to GRPO on the same seeds and problems."""
    rows = []
    codes = {run: stated_codes(results.study, run, results.seeds(run)) for run in results.runs}
    codes[BASE_RUN] = stated_codes(results.study, BASE_RUN, [0])
    for protocol, split in PROTOCOLS.items():
        for metric in metric_names(results.study):
            for run, (mean, difference) in results.beside_baseline(protocol, metric).items():
                row: dict[str, object] = {"run": run, "metric": metric, "protocol": protocol, "split": split}
                row |= _seeds(results, run, len(mean.seeds) if mean else 0)
                row |= {"problems": mean.problems if mean else 0, "config": config_hash(results.study, run)}
                row |= codes[run] | _ends("mean", mean) | _ends("diff", difference)
                row["diff_seeds"] = len(difference.seeds) if difference else 0
                if mean and len(mean.seeds) > 1:
                    row["seed_sd"] = float(np.std(mean.per_seed, ddof=1))
                if difference:
                    row |= {"diff_se": difference.se, "diff_mde": difference.detectable}
                rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _ends(name: str, found: Comparison | None) -> dict[str, float]:
    if found is None:
        return {}
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high, f"{name}_df": found.df}


def _seeds(results: Results, run: str, seeds: int) -> dict[str, object]:
    """How many seeds there are, how many were planned, and `status` in words.

    The status is `complete`, `2 of 3 seeds` or `not run`; it says `extra` of a run outside the list, and counts the
    extra seeds that are left out.
    """
    wanted = 1 if run == BASE_RUN else len(results.seeds(run))
    status = "complete" if seeds == wanted else f"{seeds} of {wanted} seeds" if seeds else "not run"
    is_planned, beyond = run in (BASE_RUN, *results.study.runs), len(results.extra.get(run, ()))
    if not is_planned:
        status = "extra" if status == "complete" else f"extra, {status}"
    elif beyond:
        status += f" ({beyond} extra seed{'s' * (beyond > 1)} left out)"
    return {"seeds": seeds, "seeds_planned": wanted if is_planned else 0, "status": status}


def config_hash(study: Study, run: str) -> str:
    """Identity of a run's configuration whatever its seed, with that of its final evaluation."""
    test = [study.evaluate.test_samples, study.evaluate.conversion_samples, study.task.described]
    if run == BASE_RUN:
        return content_hash([study.base_hash, test])
    resolved = study.run(run, 0).resolved
    return content_hash([resolved, test])


def write_summary(study: Study) -> Path:
    """Write `<root>/summary.csv`.

    Raises:
        UserError: a result is damaged or belongs elsewhere.
    """
    path = study.root / "summary.csv"
    frame = summarise(Results(study))
    write_atomic(path, lambda temporary: frame.to_csv(temporary, index=False, float_format="%.6f"))
    return path
