"""The paragraph of methods: what was run, how it was compared, by which versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def paragraph(bundle: Mapping[str, Any]) -> str:
    """In sentences that a paper may take over."""
    experiment, dataset, comparison = bundle["experiment"], bundle["dataset"], bundle["comparison"]
    clusters = len({row["group"] or row["sample"] for row in dataset["samples"]})
    n, labels = len(dataset["samples"]), [each["label"] for each in bundle["pipelines"]]
    grouped = f" in {clusters} groups" if clusters < n else ""
    tests = sorted({row["test"] for entry in comparison["metrics"] for row in entry["pipelines"] if row["test"]})
    metrics = dict.fromkeys(f"{entry['metric']} (version {entry['version']})" for entry in comparison["metrics"])
    counts = _counts(bundle["cells"])
    versions = dict(bundle.get("computed_by", {}))  # that of an earlier release does not say
    ours = f" {versions.pop('openomni')}" if "openomni" in versions else ""
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items())
    sentences = [
        f"{n} samples{grouped} of the dataset {dataset['name']} (version {dataset['number']}, hash "
        f"{dataset['hash'][:12]}) were run through {len(labels)} pipelines ({', '.join(labels)}), "
        f"{experiment['repeats']} time(s) each, at {experiment['pace']} pace, in an order drawn by the seed "
        f"{experiment['seed']} and interleaved between pipelines.",
        _player(comparison) if experiment["pace"] == "realtime" else "",
        f"Of {counts['planned']} planned runs {counts['done']} were completed and {counts['failed']} failed.",
        f"Metrics: {', '.join(metrics)}." if metrics else "",
        f"Each pipeline was compared with {comparison['baseline']} on the same samples: repeats of a sample were "
        "averaged first" + (", and samples of one group were taken as one cluster." if grouped else "."),
        "Intervals are 95 %: of means by Student's t over samples or clusters, of quantiles by order statistics, of "
        "their differences by a bootstrap of samples or clusters, of rates of a corpus by a studentised bootstrap, of "
        "binary outcomes by Newcombe's method 10.",
        f"Tests: {', '.join(tests)}; two-sided, corrected by Holm's method over the pipelines of each metric."
        if tests
        else "",
        "Runs that failed or were not answered count as endlessly long latencies: they are in medians and percentiles, "
        "and where there are any no mean is given.",
        _margins(experiment["margins"]),
        f"Computed by OpenOmni{ours}{f' with {libraries}' if libraries else ''}, random numbers drawn from the seed "
        f"{abs(experiment['seed'])}.",
    ]
    return " ".join(filter(None, sentences))


def _player(comparison: Mapping[str, Any]) -> str:
    players = comparison.get("players", ())  # an earlier release knew recordings alone
    several = ", ".join(f"{each['player']} in {each['cells']} runs" for each in players)
    told = f", not by the same one in all runs ({several})" if len(players) > 1 else f" ({several})" if several else ""
    return f"The user was played by {comparison.get('player', 'the recordings')}{told}."


def _counts(cells: Any) -> dict[str, int]:
    statuses = [cell["status"] for cell in cells]
    return {"planned": len(statuses), "done": statuses.count("done"), "failed": statuses.count("failed")}


def _margins(margins: Mapping[str, float]) -> str:
    if not margins:
        return ""
    said = ", ".join(f"{name} {margin:g}" for name, margin in margins.items())
    return f"Margins of non-inferiority were stated before the run ({said}) and held against the whole interval."
