"""Each part's result as Markdown tables."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from hdpo.render.table import make_table, to_markdown

Result = dict[str, Any]


def interval(row: dict[str, float]) -> str:
    """A ratio with the interval or range that belongs to it."""
    return f"{row['ratio']:.2f} × [{row['low']:.2f}, {row['high']:.2f}]"


def exponent(fit: dict[str, float]) -> str:
    """A fitted exponent with its standard error."""
    error = "" if fit["standard_error"] is None else f" ± {fit['standard_error']:.2f}"
    return f"{fit['exponent']:.2f}{error}".replace("-", "−")


def _table(title: str, rows: list[dict[str, str]]) -> str:
    return to_markdown(make_table("", pd.DataFrame(rows), title))


def _percent(share: float | None) -> str:
    return "—" if share is None else f"{100 * share:.0f} %"


def peers_section(peers: Result) -> list[str]:
    defaults = peers["defaults"] | {"size": f"{peers['defaults']['size']}, TRL's defaults"}
    rows = [
        {
            "model": row["size"],
            "parameters": f"{row['parameters'] / 1e6:.1f} M",
            "P × G": f"{row['prompts']} × {row['group']}",
            "kit, s": f"{row['hdpo_s']:.3f}",
            "TRL, s": f"{row['trl_s']:.3f}",
            "TRL / kit [95 %]": interval(row),
        }
        for row in [*peers["rows"], defaults]
    ]
    run = peers["run"]
    rows.append(
        {
            "model": f"{rows[0]['model']}, run of {run['steps']} steps",
            "parameters": rows[0]["parameters"],
            "P × G": rows[0]["P × G"],
            "kit, s": f"{run['hdpo_s']:.1f}",
            "TRL, s": f"{run['trl_s']:.1f}",
            "TRL / kit [95 %]": interval(run),
        }
    )
    title = f"Seconds of a GRPO step beside TRL {peers['trl']}, as fast as settings make it in float32, and as it comes"
    return [_table(f"{title} (gradient checkpointing, bfloat16).", rows)]


def rollouts_section(rollouts: Result) -> list[str]:
    engines = ", ".join(f"{name} {version}" for name, version in rollouts["engines"].items())
    rows = [
        {
            "model": row["size"],
            "engine": "kit" if row["engine"] == "hdpo" else row["engine"],
            "rollouts": str(row["completions"]),
            "tokens a second": f"{row['tokens_per_s']:,}",
            "kit's rate / its rate [95 %]": interval(row),
        }
        for row in rollouts["rows"]
    ]
    return [_table(f"Rollouts beside {engines}.", rows)]


def limits_section(limits: Result) -> list[str]:
    phases = [
        {
            "phase": row["phase"],
            "GFLOP": f"{row['flops'] / 1e9:.2f}",
            "ms": f"{1e3 * row['seconds']:.1f}",
            "of the matrix rate": _percent(row["efficiency"]),
            "of the rate at its own shapes": _percent(row["at_own_shapes"]),
        }
        for row in limits["rows"]
    ]
    title = (
        f"A GRPO step of the small world against {limits['rate'] / 1e9:.0f} GFLOP/s, the float32 matrix rate of oneDNN"
        f" (PyTorch's own @: {limits['default_rate'] / 1e9:.0f}; bfloat16: {limits['bfloat16_rate'] / 1e9:.0f})."
    )
    accounts = [
        {
            "phase": phase,
            "where the time goes": row["part"],
            "ms": f"{1e3 * row['seconds']:.1f}",
            "share": _percent(row["share"]),
        }
        for phase, rows in limits["accounts"].items()
        for row in rows
    ]
    return [_table(title, phases), _table("The account, phase by phase.", accounts)]


def overhead_section(overhead: Result) -> list[str]:
    rows = [
        {
            "cliff fraction": f"{row['fraction']:g}",
            "GRPO, s": f"{row['grpo_s']:.3f}",
            "HDPO, s": f"{row['hdpo_s']:.3f}",
            "overhead, s": f"{row['overhead_s']:+.3f}".replace("-", "−"),
            "demonstrations": f"{row['demonstrations']:.0f}",
            "HDPO / GRPO [95 %]": interval(row),
        }
        for row in overhead["rows"]
    ]
    return [_table("A step of HDPO beside one of GRPO on the same rollouts and rewards.", rows)]


def growth_section(growth: Result) -> list[str]:
    names = {
        "rollout_s": "rollouts",
        "rollout_linear_s": "rollouts, outside attention",
        "update_s": "update",
        "peak_mb": "peak memory",
        "dry_run_s": "dry run",
    }
    rows = [
        {
            "against": fit["axis"],
            "of": names[fit["quantity"]],
            "exponent ± standard error": exponent(fit),
            "R²": f"{fit['r_squared']:.3f}",
        }
        for fit in growth["fits"]
    ]
    sweeps = [{"runs": str(sweep["runs"]), "dry run, s": f"{sweep['seconds']:.1f}"} for sweep in growth["sweeps"]]
    return [_table("Growth: exponents fitted on a log-log scale.", rows), _table("The workflow's plan.", sweeps)]


def memory_section(memory: Result) -> list[str]:
    fits = {(fit["loss"], fit["series"]): fit for fit in memory["fits"]}
    rows = []
    for loss, series in dict.fromkeys((row["loss"], row["series"]) for row in memory["rows"]):
        points = [row for row in memory["rows"] if (row["loss"], row["series"]) == (loss, series)]
        grows = "chunk" if series.startswith("chunk") else "tokens"
        peaks = ", ".join(f"{row[grows]}: {row['peak_mb'] or 0:,.0f}" for row in points)
        fit = fits.get((loss, series))
        rows.append({"of": loss, "against": series, "peak, MB": peaks, "exponent": exponent(fit) if fit else "—"})
    title = f"Peak memory of a loss and its gradient over {memory['vocabulary']:,} tokens of vocabulary, float32."
    return [_table(title, rows)]


def startup_section(startup: Result) -> list[str]:
    rows = [{"what": row["what"], "seconds": f"{row['seconds']:.2f}"} for row in startup["rows"]]
    imports = [
        {"import": row["module"], "seconds, with what it imports": f"{row['seconds']:.2f}"}
        for row in startup["imports"][:8]
    ]
    return [_table("From process start.", rows), _table("The largest imports of hdpo train.", imports)]


def whole_section(whole: Result) -> list[str]:
    rows = [
        {
            "stage": row["stage"],
            "jobs": str(row["jobs"]),
            "median, s": f"{row['median_s']:.1f}",
            "sum, s": f"{row['sum_s']:.0f}",
        }
        for row in whole["rows"]
    ]
    title = (
        f"The whole workflow: {whole['wall_s']:.0f} s on {whole['cores']} cores; these jobs leave"
        f" {whole['other_s']:.0f} s of them to others."
    )
    return [_table(title, rows)]


def gpu_section(gpu: Result) -> list[str]:
    rows = [
        {
            "model": row["name"],
            "type": row["dtype"],
            "rollout tokens/s": f"{row['tokens_per_second']:,.0f}",
            "of the memory bound": f"{100 * row['tokens_per_second'] / row['bound_tokens_per_second']:.1f} %",
            "update, s": f"{row['update_s']:.3f}",
            "model-FLOP utilisation": f"{100 * row['mfu']:.1f} %",
            "peak, GB": "—" if row["peak_gb"] is None else f"{row['peak_gb']:.1f}",
            "HDPO / GRPO at 0, 25, 50 % cliffs": ", ".join(f"{part['ratio']:.2f}" for part in row["overhead"]),
        }
        for row in gpu["rows"]
    ]
    return [_table(f"On {gpu['gpu'] or 'the CPU, tiny'}.", rows)]


def versions_section(versions: Result) -> list[str]:
    rows = [
        {
            "what": row["what"],
            "new, s": f"{row['new_s']:.3f}",
            "old, s": f"{row['old_s']:.3f}",
            "new / old [least, greatest]": interval(row),
        }
        for row in versions["rows"]
    ]
    names = {name: f"{(commit or 'unknown')[:7]}" for name, commit in versions["commits"].items()}
    drawn = versions["tokens"]
    title = (
        f"Version {names['new']} (new) beside {names['old']} (old), {versions['rounds']} rounds in turns;"
        f" {drawn['new']:,.0f} and {drawn['old']:,.0f} tokens a step; {versions['cliffs']} prompts forced to be cliffs."
    )
    return [_table(title, rows)]


SECTIONS: dict[str, Callable[[Result], list[str]]] = {
    "peers": peers_section,
    "rollouts": rollouts_section,
    "limits": limits_section,
    "overhead": overhead_section,
    "growth": growth_section,
    "memory": memory_section,
    "startup": startup_section,
    "whole": whole_section,
    "gpu": gpu_section,
    "versions": versions_section,
}
