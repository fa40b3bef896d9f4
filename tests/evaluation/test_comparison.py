"""The comparison of pipelines: a second, plain implementation on random tables, and what its words mean."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from openomni.evaluation import comparison, front, intervals, power
from openomni.evaluation.comparison import MeasuredCell, MetricInfo, compare
from openomni.evaluation.contrasts import contrast, figure
from openomni.evaluation.measured import table
from openomni.evaluation.resampled import weighted_quantile
from openomni.evaluation.variance import components

LATENCY = MetricInfo("turn_s", "1", "s", "lower", "latency")
WER = MetricInfo("wer", "1", "", "lower", "accuracy")
RIGHT = MetricInfo("right", "1", "", "higher", "accuracy")
COST = MetricInfo("cost", "1", "USD", "lower", "cost")
TABLES = int(os.environ.get("OPENOMNI_TABLES", "500"))
"""Whose truth is known, where long tests run: 2,000 take some minutes."""


def cells(metric: str, pipeline: str, values: Sequence[Any], group: Any = "", repeats: int = 1) -> list[MeasuredCell]:
    """One row a sample and repeat: `values[s]`, or `values[s][r]`; None is one that failed."""
    made = []
    for s, of_sample in enumerate(values):
        for r, value in enumerate(of_sample if isinstance(of_sample, (list, tuple, np.ndarray)) else [of_sample]):
            outcome = "failed" if value is None else "scored"
            name = group[s] if group else ""
            made.append(
                MeasuredCell(f"s{s}", name, pipeline, r + 1, metric, outcome, None if value is None else float(value))
            )
    return made


def counted(pipeline: str, errors: Iterable[float], totals: Iterable[float]) -> list[MeasuredCell]:
    return [
        MeasuredCell(f"s{s}", "", pipeline, 1, "wer", "scored" if n else "not_applicable", e / n if n else None, e, n)
        for s, (e, n) in enumerate(zip(errors, totals, strict=True))
    ]


def entry(found: dict[str, Any], statistic: str, metric: str | None = None) -> dict[str, dict[str, Any]]:
    (one,) = [each for each in found["metrics"] if each["statistic"] == statistic and metric in (None, each["metric"])]
    return {row["pipeline"]: row for row in one["pipelines"]}


# ---- a second implementation ---------------------------------------------------------------------------------


def plain_p(differences: list[float]) -> float:
    """Every pattern of signs."""
    seen = abs(sum(differences)) - 1e-9
    patterns = list(itertools.product((1, -1), repeat=len(differences)))
    return sum(abs(sum(s * d for s, d in zip(p, differences, strict=True))) >= seen for p in patterns) / len(patterns)


@pytest.mark.parametrize("n_tables", [pytest.param(1_000, marks=pytest.mark.long), 40])
def test_random_tables_by_a_plain_second_implementation(n_tables: int) -> None:
    rng = np.random.default_rng(11)
    for _ in range(n_tables):
        n, repeats, k = int(rng.integers(6, 10)), int(rng.integers(1, 4)), int(rng.integers(6, 9))
        groups = [f"g{each}" for each in rng.integers(0, k, n)] if rng.random() < 0.5 else []
        grids = {name: rng.normal(1, 0.3, (n, repeats)).round(3) for name in ("a", "b", "c")}
        missing = {name: set(rng.choice(n, int(rng.integers(0, 3)), replace=False).tolist()) for name in grids}
        rows = [
            each
            for name, grid in grids.items()
            for each in cells("m", name, grid, groups)
            if int(each.sample[1:]) not in missing[name]
        ]
        info = MetricInfo("m", better="lower", statistics=("mean",))
        found = entry(compare(rows, baseline="a", metrics=[info]), "mean")
        ps = {}
        for name in ("b", "c"):
            pairs = [s for s in range(n) if s not in missing["a"] | missing[name]]
            of_group: dict[Any, list[float]] = {}
            for s in pairs:
                d = grids[name][s].mean() - grids["a"][s].mean()
                of_group.setdefault(groups[s] if groups else s, []).append(d)
            means = [sum(each) / len(each) for each in of_group.values()]
            row = found[name]
            won = [grids[name][s].mean() < grids["a"][s].mean() - 1e-12 for s in pairs]
            lost = [grids[name][s].mean() > grids["a"][s].mean() + 1e-12 for s in pairs]
            assert (row["wins"], row["losses"], row["ties"]) == (sum(won), sum(lost), len(pairs) - sum(won) - sum(lost))
            assert (row["paired"], row["scored"]) == (len(pairs), n - len(missing[name])) or len(means) < 6
            if len(means) < 6:
                assert (row["verdict"], row["difference"], row["p"]) == ("too_few", None, None)
                continue
            assert row["difference"] == pytest.approx(sum(means) / len(means))
            assert row["p"] == pytest.approx(plain_p(means))
            ps[name] = row["p"]
        if len(ps) == 2:
            (low, p_low), (high, p_high) = sorted(ps.items(), key=lambda each: each[1])
            adjusted = {low: min(1, 2 * p_low)}
            adjusted[high] = max(adjusted[low], p_high)
            for name in ps:
                assert found[name]["p_adjusted"] == pytest.approx(adjusted[name])
                way = "better" if found[name]["difference"] < 0 else "worse"
                assert found[name]["verdict"] == (way if adjusted[name] < 0.05 else "tied")


def test_weighted_quantiles_are_those_of_the_repeated_values() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        values, drawn = rng.normal(0, 1, 9), rng.integers(0, 4, (1, 9)).astype(float)
        drawn[0, 0] += 1
        for q in (0.05, 0.5, 0.95):
            plain = np.quantile(np.repeat(values, drawn[0].astype(int)), q)
            assert weighted_quantile(values, drawn, q)[0] == pytest.approx(plain)


# ---- what its words mean -------------------------------------------------------------------------------------


def test_repeats_are_averaged_first_and_are_no_samples() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(1, 0.2, 10)
    once = cells("turn_s", "a", base) + cells("turn_s", "b", base + 0.1 + rng.normal(0, 0.1, 10))
    ten = [
        MeasuredCell(each.sample, "", each.pipeline, r, "turn_s", "scored", each.value)
        for each in once
        for r in range(1, 11)
    ]
    first, again = (entry(compare(rows, baseline="a", metrics=[LATENCY]), "mean")["b"] for rows in (once, ten))
    for name in ("difference", "difference_interval", "p", "wins", "paired"):
        assert again[name] == pytest.approx(first[name])


def test_samples_of_one_dialogue_are_one_observation() -> None:
    rng = np.random.default_rng(2)
    groups = [f"g{each // 5}" for each in range(40)]
    shift = np.repeat(rng.normal(0, 0.2, 8), 5)
    base = rng.normal(1, 0.1, 40)
    rows = {
        bool(group): cells("turn_s", "a", base, group) + cells("turn_s", "b", base + shift, group)
        for group in (groups, "")
    }
    wide, narrow = (
        np.ptp(entry(compare(rows[each], baseline="a", metrics=[LATENCY]), "mean")["b"]["difference_interval"])
        for each in (True, False)
    )
    assert wide > 1.8 * narrow


def test_a_turn_without_an_answer_is_endless_and_not_dropped() -> None:
    """b answers only what is easy, and would win by the mean of what it answered."""
    base = [1.0 + each / 100 for each in range(40)]
    rows = cells("turn_s", "a", base) + cells("turn_s", "b", [*[b - 0.1 for b in base[:15]], *[None] * 25])
    found = compare(rows, baseline="a", metrics=[LATENCY])
    mean, median = entry(found, "mean")["b"], entry(found, "p50")["b"]
    assert (mean["value"], mean["difference"], mean["verdict"]) == (None, None, "too_few")
    assert "25 of 40" in mean["reason"]
    assert (mean["planned"], mean["run"], mean["scored"], mean["unanswered"]) == (40, 40, 15, 25)
    assert (mean["wins"], mean["losses"]) == (15, 25)
    assert (median["value"], median["difference"]) == (None, None)
    assert median["p"] < 0.05
    assert median["verdict"] == "worse"
    assert {point["pipeline"]: point["probability"] for point in found["front"]}["b"] is None
    json.dumps(found, allow_nan=False)


def test_a_percentile_with_fewer_than_10_beyond_it_is_no_number() -> None:
    rng = np.random.default_rng(4)
    for n, told in ((199, False), (200, True)):
        rows = cells("turn_s", "a", rng.normal(1, 0.1, n)) + cells("turn_s", "b", rng.normal(2, 0.1, n))
        row = entry(compare(rows, baseline="a", metrics=[LATENCY]), "p95")["b"]
        assert (row["value"] is not None, row["verdict"]) == (told, "worse" if told else "too_few")


def test_five_pairs_are_too_few_whatever_they_say() -> None:
    for n, verdict in ((5, "too_few"), (6, "worse")):
        rows = cells("turn_s", "a", [1.0 + each / 50 for each in range(n)])
        rows += cells("turn_s", "b", [9.0 + each / 50 for each in range(n)])
        assert entry(compare(rows, baseline="a", metrics=[LATENCY]), "mean")["b"]["verdict"] == verdict


def test_where_no_difference_could_be_told_that_is_said() -> None:
    def found(samples: int, *names: str) -> dict[str, dict[str, Any]]:
        rows = cells("turn_s", "a", [1.0] * samples)
        for name in names:
            rows += cells("turn_s", name, [2.0 + s / 100 for s in range(samples)])
        return entry(compare(rows, baseline="a", metrics=[LATENCY]), "mean")

    row = found(6, "b", "c")["b"]
    assert (row["verdict"], row["wins"], row["losses"]) == ("tied", 0, 6)
    assert row["undecided_because"] == "6 paired samples can show no difference in 2 comparisons, however large it is"
    # Where another one has fewer pairs, or none, this one is not corrected for it.
    rows = cells("turn_s", "a", [1.0] * 15) + cells("turn_s", "b", [2.0 + s / 100 for s in range(6)])
    rows += cells("turn_s", "c", [2.0 + s / 100 for s in range(15)])
    beside = entry(compare(rows, baseline="a", metrics=[LATENCY]), "mean")["b"]
    assert (beside["verdict"], beside["undecided_because"]) == ("worse", None)
    for told in (found(6, "b"), found(7, "b", "c")):
        assert (told["b"]["verdict"], told["b"]["undecided_because"]) == ("worse", None)


def test_word_errors_are_those_of_the_corpus_with_the_insertions_of_an_empty_reference() -> None:
    rows = counted("a", [1, 0, 3, 0, 0, 0, 0], [1, 9, 0, 10, 10, 10, 10])
    rows += counted("b", [0, 0, 0, 0, 0, 0, 0], [1, 9, 0, 10, 10, 10, 10])
    found = entry(compare(rows, baseline="a", metrics=[WER]), "rate")
    assert found["a"]["value"] == pytest.approx(4 / 50)
    assert found["b"]["difference"] == pytest.approx(-4 / 50)
    assert (found["b"]["wins"], found["b"]["losses"], found["b"]["ties"]) == (2, 0, 5)
    low, high = found["b"]["interval"]
    assert low == 0 < high  # no error in seven samples is not "certainly none"


def test_right_or_wrong_is_mcnemar_and_newcombe() -> None:
    a = [1] * 12 + [1] * 2 + [0] * 12 + [0] * 4
    b = [1] * 12 + [0] * 2 + [1] * 12 + [0] * 4
    row = entry(compare(cells("right", "a", a) + cells("right", "b", b), baseline="a", metrics=[RIGHT]), "rate")["b"]
    assert (row["difference"], *row["difference_interval"]) == pytest.approx(intervals.newcombe_paired(12, 12, 2, 4))
    assert row["p"] == pytest.approx(0.012939453125)
    assert row["verdict"] == "better"


def test_not_applicable_is_not_averaged_as_0_and_unparsed_is_not_guessed() -> None:
    rows = cells("right", "a", [1] * 8) + cells("right", "b", [1] * 7)
    rows += [
        MeasuredCell("s7", "", "b", 1, "right", "not_applicable"),
        MeasuredCell("s8", "", "b", 1, "right", "unparsed"),
    ]
    row = entry(compare(rows, baseline="a", metrics=[RIGHT]), "rate")["b"]
    assert (row["value"], row["planned"], row["run"], row["scored"], row["paired"]) == (1.0, 9, 9, 7, 7)


def test_a_metric_that_applies_to_no_run_is_left_out_and_one_that_failed_on_all_is_not() -> None:
    rows = [MeasuredCell(f"s{at}", "", name, 1, "cost", "not_applicable") for at in range(8) for name in "ab"]
    found = compare(rows, baseline="a", metrics=[COST])
    assert (found["metrics"], found["axes"]["cost"]) == ([], None)
    assert found["left_out"] == [{"metric": "cost", "reason": "it applies to none of these runs"}]
    rows[0] = MeasuredCell("s0", "", "a", 1, "cost", "failed")
    assert entry(compare(rows, baseline="a", metrics=[COST]), "mean")["b"]["verdict"] == "too_few"


def test_who_talks_over_people_has_negative_latencies_and_they_count() -> None:
    rows = cells("turn_s", "a", [0.5] * 8) + cells("turn_s", "b", [-0.5, *[0.6] * 7])
    found = entry(compare(rows, baseline="a", metrics=[LATENCY]), "mean")
    assert found["b"]["value"] == pytest.approx((-0.5 + 7 * 0.6) / 8)


def test_a_margin_stated_beforehand_is_held_against_the_whole_interval() -> None:
    rng = np.random.default_rng(6)
    base = rng.normal(1, 0.1, 40)
    rows = cells("turn_s", "a", base) + cells("turn_s", "b", base + rng.normal(0.01, 0.02, 40))
    for margin, holds in ((0.05, True), (0.001, False)):
        found = compare(rows, baseline="a", metrics=[LATENCY], margins={"turn_s": margin})
        row = entry(found, "mean")["b"]
        assert row["non_inferior"] is holds
        assert (row["difference_interval"][1] < margin) is holds
    assert entry(compare(rows, baseline="a", metrics=[LATENCY]), "mean")["b"]["non_inferior"] is None


def test_identical_pipelines_are_tied_without_certainty_and_the_baseline_has_no_difference() -> None:
    rows = [each for name in "ab" for each in cells("turn_s", name, [1.0 + i / 9 for i in range(20)])]
    rows += counted("a", [1, 0] * 10, [5] * 20) + counted("b", [1, 0] * 10, [5] * 20)
    found = compare(rows, baseline="a", metrics=[LATENCY, WER])
    for each in found["metrics"]:
        base, other = each["pipelines"]
        assert base["difference"] is base["difference_interval"] is base["p"] is base["verdict"] is None
        if other["verdict"] != "too_few":
            assert (other["verdict"], other["difference"], other["p"]) == ("tied", 0, 1)
    low, high = entry(found, "rate")["b"]["difference_interval"]
    assert low < 0 < high
    assert [point["probability"] for point in found["front"]] == [1, 1]


def test_what_is_drawn_of_the_front_is_the_figure_of_its_point() -> None:
    """One sample of a large dialogue counts less than one that stands alone, in both."""
    groups = ["talk" if at < 6 else f"g{at}" for at in range(9)]
    made = table(cells("cost", "a", [float(at**2) for at in range(9)], groups), COST, ("a",))
    once = np.ones((1, len(made.samples)))
    assert front._drawn(made, "a", "mean", once) == pytest.approx(figure(made, made.columns["a"], "mean", 0).value)


def test_the_front_is_drawn_jointly_and_a_dominated_pipeline_is_seldom_on_it() -> None:
    rng = np.random.default_rng(7)
    hard = rng.normal(0, 1, 60)
    quick, good, bad = 1 + 0.2 * hard, 2 + 0.2 * hard, 2.2 + 0.2 * hard
    rows = [r for name, of in (("quick", quick), ("good", good), ("bad", bad)) for r in cells("turn_s", name, of)]
    words = np.full(60, 10.0)
    for name, rate in (("quick", 0.3), ("good", 0.1), ("bad", 0.3)):
        rows += counted(name, rng.binomial(10, rate, 60).astype(float), words)
        rows += cells("cost", name, [0.0] * 60)
    found = compare(rows, baseline="quick", metrics=[LATENCY, WER, COST])
    assert found["axes"] == {"latency": "turn_s", "accuracy": "wer", "cost": "cost"}
    assert found["axis_statistics"] == {"latency": "p50", "accuracy": "rate", "cost": "mean"}
    chance = {point["pipeline"]: point["probability"] for point in found["front"]}
    assert chance["quick"] == 1
    assert chance["good"] > 0.95
    assert chance["bad"] < 0.05
    by_name = {point["pipeline"]: point for point in found["front"]}
    assert by_name["good"]["latency"] == pytest.approx(float(np.median(good)))
    assert by_name["good"]["accuracy"] == entry(found, "rate", "wer")["good"]["value"]


def test_variance_is_split_into_sample_repeat_and_rest() -> None:
    rng = np.random.default_rng(8)
    n, r = 4_000, 4
    drift = np.array([-0.3, -0.1, 0.1, 0.3])
    grid = rng.normal(0, 0.5, (n, 1)) + drift + rng.normal(0, 0.2, (n, r))
    found = components([(s, k, grid[s, k]) for s in range(n) for k in range(r)])
    assert found is not None
    assert (found["sample"], found["repeat"], found["rest"]) == pytest.approx((0.25, drift.var(ddof=1), 0.04), rel=0.1)
    whole = grid[:10]
    parts = components([(s, k, whole[s, k]) for s in range(10) for k in range(r)])
    gaps = components([(s, k, whole[s, k]) for s in range(10) for k in range(r)] + [(10, 0, 99.0)])
    assert parts == gaps  # a sample that lacks a repeat is no part of it
    assert components([(0, 1, 1.0)]) is None


def test_as_many_more_samples_as_are_said_settle_it() -> None:
    rng = np.random.default_rng(12)
    base = rng.normal(1, 0.2, 20)
    difference = rng.normal(0, 1, 20)
    difference = 0.03 + 0.1 * (difference - difference.mean()) / difference.std(ddof=1)
    found = compare(
        cells("turn_s", "a", base) + cells("turn_s", "b", base + difference), baseline="a", metrics=[LATENCY]
    )
    row = entry(found, "mean")["b"]
    assert row["verdict"] == "tied"
    needed = 20 + row["settled_by"]["more_samples"]
    assert power.detectable(needed, spread=power.Spread(0.1))["difference"] == pytest.approx(0.03, rel=0.02)


def test_what_an_experiment_can_detect_is_known_before_it_runs() -> None:
    # A paired t test at dz = 0.5 and 80 % needs 34 samples.
    assert power.detectable(34)["in_sd"] < 0.5 < power.detectable(33)["in_sd"]
    assert power.detectable(40)["difference"] is None
    assert power.detectable(1) == {"in_sd": None, "difference": None}
    one, three = (power.detectable(40, r, spread=power.Spread(0.0, 0.3))["difference"] for r in (1, 3))
    assert one / three == pytest.approx(math.sqrt(3))
    alone, alike = (power.detectable(40, clusters=8, spread=power.Spread(1, 0, w))["difference"] for w in (0, 1))
    assert alone < alike
    assert power.detectable(40, comparisons=3)["in_sd"] > power.detectable(40)["in_sd"]
    with pytest.raises(ValueError, match="a cluster has one sample at least"):
        power.detectable(4, clusters=5)


def test_the_spread_of_an_earlier_experiment_is_found_again() -> None:
    rng = np.random.default_rng(9)
    n, r = 2_000, 3
    groups = [f"g{each // 4}" for each in range(n)]
    alike = np.repeat(rng.normal(0, 0.3, n // 4), 4)
    sample = rng.normal(1, 0.5, n)
    a = sample[:, None] + rng.normal(0, 0.2, (n, r))
    b = (sample + alike + rng.normal(0, 0.4, n))[:, None] + rng.normal(0, 0.2, (n, r))
    found = power.spread_of(cells("turn_s", "a", a, groups) + cells("turn_s", "b", b, groups), LATENCY)
    assert found is not None
    assert (found.between, found.run) == pytest.approx((0.5, 0.2), rel=0.06)
    observed = 0.09 / (0.25 + 2 * 0.04 / 3)
    assert found.within == pytest.approx(observed, abs=0.06)
    assert power.spread_of(cells("turn_s", "a", a), LATENCY) is None


def test_a_sentence_says_what_was_measured_and_how_and_never_why() -> None:
    rows = cells("turn_s", "a", [1 + i / 10 for i in range(8)]) + cells("turn_s", "b", [1.2 + i / 9 for i in range(8)])
    row = entry(compare(rows, baseline="a", metrics=[LATENCY]), "mean")["b"]
    assert row["sentence"].startswith("b: turn_s (mean) 1.59 s [95 % interval ")
    assert "the paired difference from a on the same 8 samples is +0.2389 s" in row["sentence"]
    assert "sign-flip permutation test, p = .008" in row["sentence"]
    assert row["sentence"].endswith("0 samples are better, 8 worse, 0 the same.")


def test_what_answers_differently_each_time_is_said() -> None:
    rows = cells("turn_s", "a", [1.0] * 6)
    texts = {("a", "s0"): ["yes", "yes"], ("a", "s1"): ["yes", "no"], ("a", "s2"): ["alone"]}
    found = compare(rows, baseline="a", metrics=[LATENCY], texts=texts)
    assert found["varies"] == [{"pipeline": "a", "samples": 2, "differ": 1, "share": 0.5}]


def test_what_fits_not_is_refused_in_a_line() -> None:
    good = cells("turn_s", "a", [1.0])
    for rows, metrics, options, match in (
        (good, [LATENCY], {"baseline": "z"}, "none of the pipelines"),
        (good * 2, [LATENCY], {}, "measured twice"),
        ([MeasuredCell("s", "", "a", 1, "turn_s", "scored", math.nan)], [LATENCY], {}, "finite number"),
        ([MeasuredCell("s", "", "a", 1, "turn_s", "scored")], [LATENCY], {}, "has no value"),
        ([MeasuredCell("s", "", "a", 1, "turn_s", "lost")], [LATENCY], {}, "give one of scored"),
        ([*good, MeasuredCell("s0", "g", "a", 2, "turn_s", "planned")], [LATENCY], {}, "two groups"),
        (good, [LATENCY, LATENCY], {}, "given twice"),
        (good, [LATENCY], {"margins": {"turn_s": -1}}, "above 0"),
    ):
        with pytest.raises(ValueError, match=match):
            compare(rows, **{"baseline": "a", "metrics": metrics} | options)
    assert compare(good, baseline="a", metrics=[MetricInfo("turn_s", better="")])["left_out"][0]["metric"] == "turn_s"
    assert comparison.LEVEL == 0.05


# ---- tables whose truth is known -----------------------------------------------------------------------------


def known(rng: np.random.Generator, shift: float) -> tuple[list[float], ...]:
    """Log-normal latencies of 40 samples × 3 repeats, in s: the second pipeline is `shift` slower throughout."""
    sample = 0.8 * rng.lognormal(0, 0.4, 40)
    noise = rng.normal(0, 0.03, (2, 40, 3)).mean(axis=2) + rng.normal(0, 0.02, (2, 40))
    return (sample + noise[0]).tolist(), (sample + shift + noise[1]).tolist()


def quick(a: list[float], b: list[float], statistic: str) -> Any:
    made = table(cells("turn_s", "a", a) + cells("turn_s", "b", b), LATENCY, ("a", "b"))
    return contrast(made, made.columns["b"], made.columns["a"], statistic, 0)


@pytest.mark.parametrize("statistic", ["mean", "p50"])
@pytest.mark.parametrize("n", [pytest.param(TABLES, marks=pytest.mark.long), 30])
def test_known_differences_are_covered_and_none_is_seldom_called_one(n: int, statistic: str) -> None:
    rng = np.random.default_rng(20)
    covered = false = 0
    for _ in range(n):
        low, high = quick(*known(rng, 0.01), statistic).interval
        covered += low <= 0.01 <= high
        false += quick(*known(rng, 0.0), statistic).p < 0.05
    print(statistic, covered / n, false / n)
    assert covered / n >= (0.937 if n >= 2_000 else 0.83)
    assert false / n <= (0.061 if n >= 2_000 else 0.2)


@pytest.mark.long
def test_p95_of_200_log_normal_latencies() -> None:
    rng = np.random.default_rng(21)
    covered = 0
    tables = min(TABLES, 300)
    for _ in range(tables):
        sample = rng.lognormal(0, 0.5, 200)
        a, b = (sample * rng.lognormal(0, 0.1, 200) for _ in range(2))
        low, high = quick(a.tolist(), b.tolist(), "p95").interval
        covered += low <= 0 <= high
    assert covered / tables >= 0.93
