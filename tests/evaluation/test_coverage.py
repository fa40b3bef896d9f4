"""Tables whose truth is known, drawn again and again: what an interval says to cover, and what a test calls different.

A 95 % interval that is right covers 93.7 to 96.3 % of 2,000 tables with 99 % probability. The short forms draw fewer
and allow as much more; what a common mistake would have covered lies outside of them, too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from openomni.evaluation import agreement, intervals, paired

Rng = np.random.Generator
SEED = 20_260_101
LONG, SHORT = 2_000, 300
SLOW = int(os.environ.get("OPENOMNI_TABLES", "500"))
"""Of those that resample each table, where long tests run: 2,000 take five minutes."""
FALSE_DIFFERENT = 0.061

tables = pytest.mark.parametrize("n", [pytest.param(LONG, marks=pytest.mark.long), SHORT])
slow_tables = pytest.mark.parametrize("n", [pytest.param(SLOW, marks=pytest.mark.long)])


def band(n: int) -> tuple[float, float]:
    """Where the coverage of a right interval lies, with 99 % probability; with 99.9 % in the short forms."""
    reach = NormalDist().inv_cdf(0.995 if n >= LONG else 0.9995) * math.sqrt(0.95 * 0.05 / n)
    return 0.95 - reach, 0.95 + reach


def test_the_band_of_2000_tables_is_the_one_that_is_asked_for() -> None:
    assert band(LONG) == pytest.approx((0.937, 0.963), abs=5e-4)


def coverage(n: int, table: Callable[[Rng], Any], interval: Callable[[Any], Any], truth: float) -> float:
    rng = np.random.default_rng(SEED)
    covered = 0
    for _ in range(n):
        *_, low, high = interval(table(rng))
        covered += low <= truth <= high
    print(f"covered {covered / n:.4f} of {n}")
    return covered / n


def repeated(difference: float, rng: Rng) -> np.ndarray:
    """Differences in ms over 40 samples × 3 repeats; pipelines differ by the sample, too, and repeats scatter."""
    sample = rng.normal(900, 200, (40, 1))
    a = sample + difference + rng.normal(0, 15, (40, 1)) + rng.normal(0, 30, (40, 3))
    b = sample + rng.normal(0, 15, (40, 1)) + rng.normal(0, 30, (40, 3))
    return a.mean(axis=1) - b.mean(axis=1)


def dialogues(k: int, difference: float, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Differences in ms over dialogues of 3 to 12 turns, whose turns are alike."""
    clusters = np.repeat(np.arange(k), rng.integers(3, 13, k))
    return difference + rng.normal(0, 20, k)[clusters] + rng.normal(0, 25, len(clusters)), clusters


@tables
@pytest.mark.parametrize("difference", [10.0, 0.0])
def test_a_mean_difference_over_40_samples_with_3_repeats(n: int, difference: float) -> None:
    low, high = band(n)
    assert low <= coverage(n, partial(repeated, difference), intervals.mean, difference) <= high


@tables
@pytest.mark.parametrize("difference", [10.0, 0.0])
@pytest.mark.parametrize("k", [12, 40])
def test_a_mean_difference_over_dialogues(n: int, k: int, difference: float) -> None:
    low, high = band(n)
    table = partial(dialogues, k, difference)
    assert low <= coverage(n, table, lambda t: intervals.mean(*t), difference) <= high
    # Turns taken one by one look like many more than they are.
    assert coverage(min(n, SHORT), table, lambda t: intervals.mean(t[0]), difference) < 0.85


@slow_tables
@pytest.mark.parametrize("k", [12, 40])
def test_a_studentised_bootstrap_over_dialogues(n: int, k: int) -> None:
    low, high = band(n)
    assert (
        low
        <= coverage(n, partial(dialogues, k, 10.0), lambda t: intervals.bootstrap(t[0], np.mean, t[1], 1999), 10.0)
        <= high
    )


def log_normal(size: int, sigma: float, rng: Rng) -> np.ndarray:
    """Latencies in s: 0.8 in the middle."""
    return 0.8 * rng.lognormal(0, sigma, size)


@tables
@pytest.mark.parametrize(("size", "sigma"), [(40, 0.3), (40, 0.5), (40, 1.0), (120, 0.5), (120, 1.0), (400, 0.5)])
def test_the_mean_of_log_normal_latencies(n: int, size: int, sigma: float) -> None:
    low, high = band(n)
    truth = 0.8 * math.exp(sigma**2 / 2)
    assert low <= coverage(n, partial(log_normal, size, sigma), intervals.mean, truth) <= high


@slow_tables
@pytest.mark.parametrize(("size", "sigma"), [(40, 0.5), (40, 1.0), (120, 0.5)])
def test_the_studentised_bootstrap_of_log_normal_latencies(n: int, size: int, sigma: float) -> None:
    low, high = band(n)
    truth = 0.8 * math.exp(sigma**2 / 2)
    interval = lambda t: intervals.bootstrap(t, lambda each: each.mean(), resamples=1999)  # noqa: E731
    assert low <= coverage(n, partial(log_normal, size, sigma), interval, truth) <= high


@tables
@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_the_mean_difference_of_log_normal_latencies(n: int, sigma: float) -> None:
    def table(rng: Rng) -> np.ndarray:
        sample = rng.lognormal(0, sigma, 40)
        return sample * rng.lognormal(0, sigma / 4, 40) - sample * rng.lognormal(0, sigma / 4, 40)

    low, high = band(n)
    # At 1.0 differences are far out on either side, which makes t wide.
    assert low <= coverage(n, table, intervals.mean, 0.0) <= (high if sigma == 0.5 else 1.0)


@tables
@pytest.mark.parametrize("size", [120, 200, 400])
@pytest.mark.parametrize("q", [0.5, 0.9, 0.95])
def test_quantiles_of_log_normal_latencies(n: int, size: int, q: float) -> None:
    truth = 0.8 * math.exp(0.5 * NormalDist().inv_cdf(q))
    assert coverage(n, partial(log_normal, size, 0.5), lambda t: intervals.quantile(t, q), truth) >= min(
        0.93, band(n)[0]
    )


def sd(values: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.std(values, axis=axis, ddof=1)


@slow_tables
def test_bca_of_a_median_of_40(n: int) -> None:
    low, high = band(n)
    interval = lambda t: intervals.bootstrap(t, np.median, resamples=1999)  # noqa: E731
    assert low <= coverage(n, lambda rng: rng.normal(0, 1, 40), interval, 0.0) <= high


@slow_tables
@pytest.mark.parametrize("units", [40, 120])
def test_bca_of_a_standard_deviation_falls_short_by_as_much_as_the_reference_says(n: int, units: int) -> None:
    interval = lambda t: intervals.bootstrap(t, sd, resamples=1999)  # noqa: E731
    reached = coverage(n, lambda rng: rng.normal(0, 1, units), interval, 1.0)
    assert 0.93 - (0.95 - band(n)[0]) <= reached <= band(n)[1]


def rated(units: int, raters: int, rng: Rng) -> list[list[int]]:
    """Five grades; one rating in five is missing."""
    true = rng.normal(0, 1, units)
    grades = np.clip(np.round(true + rng.normal(0, 0.7, (raters, units))) + 3, 1, 5).astype(int)
    missing = rng.random(grades.shape) < 0.2
    return [
        [None if gone else int(each) for each, gone in zip(*row, strict=True)]
        for row in zip(grades, missing, strict=True)
    ]


@slow_tables
@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_over_40_units(n: int, level: Any) -> None:
    truth = agreement.krippendorff_alpha(rated(100_000, 3, np.random.default_rng(SEED)), level)
    assert truth is not None
    interval = lambda t: agreement.alpha_interval(t, level, resamples=1000)  # noqa: E731
    low, high = band(n)
    assert low <= coverage(n, partial(rated, 40, 3), interval, truth) <= high


@slow_tables
def test_no_more_than_one_in_twenty_is_called_different_where_nothing_differs(n: int) -> None:
    rng = np.random.default_rng(SEED)
    called = {"sign_flip": 0, "wilcoxon": 0, "interval": 0, "sign_flip of 12 dialogues": 0, "interval of 12": 0}
    for _ in range(n):
        differences = repeated(0.0, rng)
        called["sign_flip"] += paired.sign_flip(differences, 999) < 0.05
        called["wilcoxon"] += paired.wilcoxon(differences)[2] < 0.05
        _, low, high = intervals.mean(differences)
        called["interval"] += low > 0 or high < 0
        values, clusters = dialogues(12, 0.0, rng)
        means = [values[clusters == each].mean() for each in range(12)]
        called["sign_flip of 12 dialogues"] += paired.sign_flip(means) < 0.05
        _, low, high = intervals.mean(values, clusters)
        called["interval of 12"] += low > 0 or high < 0
    print({name: times / n for name, times in called.items()})
    limit = FALSE_DIFFERENT if n == LONG else 1 - band(n)[0]
    assert max(called.values()) / n <= limit


@tables
def test_mcnemar_and_the_paired_difference_of_rates(n: int) -> None:
    """Sixty samples; each pipeline is right in 80 %, mostly on the same ones."""
    rng = np.random.default_rng(SEED)
    covered = different = 0
    for _ in range(n):
        both, first, second, neither = (int(each) for each in rng.multinomial(60, [0.72, 0.08, 0.08, 0.12]))
        _, low, high = intervals.newcombe_paired(both, first, second, neither)
        covered += low <= 0 <= high
        different += paired.mcnemar(first, second) < 0.05
    print(covered / n, different / n)
    assert covered / n >= band(n)[0]
    assert different / n <= 0.05  # exact tests err on the safe side
