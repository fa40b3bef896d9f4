"""A sentence that one may quote: what was measured, on how many samples, how sure, by which test; never why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .contrasts import Contrast
from .measured import MetricInfo

NAMES = {"mean": "mean", "p50": "median", "p95": "95th percentile", "rate": "rate"}


def sentence(
    info: MetricInfo, statistic: str, row: Mapping[str, Any], baseline: str, of: Contrast | None, comparisons: int
) -> str:
    """Of one row of a comparison; `of` is None for the baseline."""
    unit = f" {info.unit}" if info.unit and info.unit != "1" else ""
    what = f"{info.name} ({NAMES[statistic]})"
    counted = f"{row['scored']} of {row['planned']} samples"
    if row["value"] is None:
        return f"{row['pipeline']}: {what} could not be told from {counted} ({row['reason']})."
    own = f"{row['pipeline']}: {what} {number(row['value'])}{unit}{_interval(row['interval'], unit)} over {counted}"
    if of is None:
        return f"{own}; it is the baseline."
    if of.difference is None or of.p is None:
        return f"{own}; its difference from {baseline} could not be told ({of.reason})."
    test = f"{of.test}, p {probability(of.p)}"
    if comparisons > 1:
        test += f", {probability(row['p_adjusted'])} after Holm's correction for {comparisons} comparisons"
    groups = "" if of.clusters == of.pairs else f" in {of.clusters} groups"
    return (
        f"{own}; the paired difference from {baseline} on the same {of.pairs} samples{groups} is "
        f"{number(of.difference, signed=True)}{unit}{_interval(row['difference_interval'], unit)} ({test}); "
        f"{row['wins']} samples are better, {row['losses']} worse, {row['ties']} the same."
    )


def _interval(ends: Any, unit: str) -> str:
    return f" [95 % interval {number(ends[0])} to {number(ends[1])}{unit}]" if ends else ""


def number(value: float, *, signed: bool = False) -> str:
    """Three significant digits, without an exponent where a reader needs none, and a true minus."""
    size = abs(value)
    if size >= 1000:
        text = f"{size:.0f}"
    elif size and size < 0.0005:
        text = f"{size:.2e}"
    else:
        text = f"{size:.3g}" if size >= 1 else f"{size:.4f}".rstrip("0").rstrip(".") or "0"
    return ("−" if value < 0 else "+" if signed and value > 0 else "") + text


def probability(p: float) -> str:
    return "< .001" if p < 0.001 else f"= {p:.3f}".replace("= 0.", "= .")
