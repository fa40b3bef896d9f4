"""A second implementation, as slow and as plain as its definition, agrees on 1,000 random tables; on 100 in short."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from openomni.evaluation import agreement, errors, intervals, paired, pairs, repeats, text

tables = pytest.mark.parametrize("n_tables", [pytest.param(1_000, marks=pytest.mark.long), 100])
Rng = np.random.Generator


def rng_of(name: str) -> Rng:
    return np.random.default_rng([ord(each) for each in name])


def rated(rng: Rng, missing: float) -> list[list[int | None]]:
    """2 to 5 raters, 2 to 10 units, up to 5 values of which some may never come."""
    raters, units, values = rng.integers(2, 6), rng.integers(2, 11), rng.integers(1, 6)
    true = rng.integers(0, values, units)
    given = np.where(rng.random((raters, units)) < 0.6, true, rng.integers(0, values, (raters, units)))
    return [[None if rng.random() < missing else int(each) for each in row] for row in given]


def same(ours: float | None, theirs: float | None, what: object) -> None:
    if theirs is None:
        assert ours is None, what
    else:
        assert ours == pytest.approx(theirs, abs=1e-9), what


def plain_alpha(ratings: list[list[int | None]], level: str) -> float | None:
    """Over all pairs of ratings, as Krippendorff 2011 begins: 1 − observed ÷ expected disagreement."""
    units = [[each for each in unit if each is not None] for unit in zip(*ratings, strict=True)]
    units = [unit for unit in units if len(unit) > 1]
    pool = [each for unit in units for each in unit]
    often = {each: pool.count(each) for each in sorted(set(pool))}

    def distance(a: int, b: int) -> Fraction:
        if a == b:
            return Fraction(0)
        match level:
            case "nominal":
                return Fraction(1)
            case "interval":
                return Fraction((a - b) ** 2)
            case "ratio":
                return Fraction(a - b, a + b) ** 2
        low, high = min(a, b), max(a, b)
        between = sum(n for each, n in often.items() if low <= each <= high)
        return (between - Fraction(often[a] + often[b], 2)) ** 2

    observed = sum(
        (distance(a, b) / (len(unit) - 1) for unit in units for a, b in itertools.permutations(unit, 2)), Fraction(0)
    )
    expected = sum((distance(a, b) for a, b in itertools.permutations(pool, 2)), Fraction(0))
    return float(1 - observed * (len(pool) - 1) / expected) if expected else None


@tables
@pytest.mark.parametrize("level", agreement.LEVELS)
def test_alpha(n_tables: int, level: Any) -> None:
    rng = rng_of(level)
    undefined = 0
    for _ in range(n_tables):
        ratings = rated(rng, 0.2)
        theirs = plain_alpha(ratings, level)
        undefined += theirs is None
        same(agreement.krippendorff_alpha(ratings, level), theirs, ratings)
        # What the bootstrap computes many at once is the same.
        scaled = agreement._scaled(ratings, level)
        if scaled.shape[1]:
            values, counts = agreement._counted(scaled)
            (one,) = agreement._alphas(np.ones((1, len(counts))), values, counts, level)
            same(None if math.isnan(one) else one, theirs, ratings)
    assert n_tables / 100 < undefined < n_tables / 2


@tables
def test_alpha_of_resampled_units_is_that_of_the_table_they_make(n_tables: int) -> None:
    rng = rng_of("resampled")
    for _ in range(n_tables // 5):
        ratings = rated(rng, 0.1)
        for level in agreement.LEVELS:
            scaled = agreement._scaled(ratings, level)  # type: ignore[arg-type]
            if not scaled.shape[1]:
                continue
            values, counts = agreement._counted(scaled)
            drawn = rng.integers(0, len(counts), len(counts))
            weights = np.bincount(drawn, minlength=len(counts))[None].astype(float)
            (one,) = agreement._alphas(weights, values, counts, level)
            columns = list(zip(*ratings, strict=True))
            columns = [unit for unit in columns if sum(each is not None for each in unit) > 1]
            table = [list(row) for row in zip(*(columns[each] for each in drawn), strict=True)]
            same(None if math.isnan(one) else one, plain_alpha(table, level), table)


@tables
def test_alpha_does_not_ask_for_order_names_and_single_ratings(n_tables: int) -> None:
    rng = rng_of("invariance")
    for _ in range(n_tables // 5):
        ratings = rated(rng, 0.2)
        alpha = agreement.krippendorff_alpha(ratings)
        same(agreement.krippendorff_alpha(ratings[::-1]), alpha, ratings)
        same(agreement.krippendorff_alpha([row[::-1] for row in ratings]), alpha, ratings)
        names = dict(zip(range(5), rng.permutation(["x", "w", "q", "y", "a"]).tolist(), strict=True))
        same(agreement.krippendorff_alpha([[names.get(each) for each in row] for row in ratings]), alpha, ratings)
        more = [[*row, 4 if not at else None] for at, row in enumerate(ratings)]
        for level in agreement.LEVELS:
            same(agreement.krippendorff_alpha(more, level), agreement.krippendorff_alpha(ratings, level), more)  # type: ignore[arg-type]
            assert agreement.alpha_interval(more, level, 50) == agreement.alpha_interval(ratings, level, 50)  # type: ignore[arg-type]


@tables
def test_cohens_kappa(n_tables: int) -> None:
    rng = rng_of("cohen")
    for _ in range(n_tables):
        table = rng.integers(0, 6, (k := int(rng.integers(1, 6)), k)) * (rng.random((k, k)) < 0.7)
        cells = [(i, j) for i in range(k) for j in range(k)]
        n = table.sum()
        for weights in (None, "linear", "quadratic"):
            cost = {
                (i, j): (i != j) if weights is None else abs(i - j) ** (1 if weights == "linear" else 2)
                for i, j in cells
            }
            seen = sum(cost[i, j] * table[i, j] for i, j in cells)
            chance = sum(cost[i, j] * table[i].sum() * table[:, j].sum() for i, j in cells)
            same(agreement.cohen_kappa(table, weights), 1 - n * seen / chance if chance else None, table)  # type: ignore[arg-type]


@tables
def test_fleiss_kappa_and_ac1(n_tables: int) -> None:
    rng = rng_of("fleiss")
    for _ in range(n_tables):
        ratings = rated(rng, 0.0)
        seen = sorted({each for row in ratings for each in row})  # type: ignore[type-var]
        units = list(zip(*ratings, strict=True))
        counts = [[unit.count(each) for each in range(5)] for unit in units]
        agree = np.mean([np.mean([a == b for a, b in itertools.permutations(unit, 2)]) for unit in units])
        share = [sum(unit.count(each) for unit in units) / (len(units) * len(ratings)) for each in seen]
        chance = sum(each**2 for each in share)
        varied = len(seen) > 1
        same(agreement.fleiss_kappa(counts), (agree - chance) / (1 - chance) if varied else None, counts)
        chance = sum(each * (1 - each) for each in share) / max(len(seen) - 1, 1)
        same(agreement.gwet_ac1(ratings), (agree - chance) / (1 - chance) if varied else None, ratings)


@tables
def test_ac1_with_missing_ratings(n_tables: int) -> None:
    rng = rng_of("ac1")
    for _ in range(n_tables):
        ratings = rated(rng, 0.25)
        units = [[each for each in unit if each is not None] for unit in zip(*ratings, strict=True)]
        units = [unit for unit in units if unit]
        seen = {each for unit in units for each in unit}
        several = [unit for unit in units if len(unit) > 1]
        if len(seen) < 2 or not several:
            assert agreement.gwet_ac1(ratings) is None
            continue
        agree = np.mean([np.mean([a == b for a, b in itertools.permutations(unit, 2)]) for unit in several])
        share = [np.mean([unit.count(each) / len(unit) for unit in units]) for each in seen]
        chance = sum(each * (1 - each) for each in share) / (len(seen) - 1)
        same(agreement.gwet_ac1(ratings), (agree - chance) / (1 - chance), ratings)


@tables
def test_icc(n_tables: int) -> None:
    """From the covariance of raters and the tables of variance, written out as McGraw and Wong 1996 do."""
    rng = rng_of("icc")
    for _ in range(n_tables):
        k, n = int(rng.integers(2, 6)), int(rng.integers(2, 12))
        table = rng.normal(0, 1, n) + rng.normal(0, 0.5, (k, 1)) + rng.normal(0, 0.7, (k, n))
        table = np.round(3 * table) / 2
        grand = table.mean()
        rows = k * sum((table[:, unit].mean() - grand) ** 2 for unit in range(n)) / (n - 1)
        columns = n * sum((table[rater].mean() - grand) ** 2 for rater in range(k)) / (k - 1)
        within = sum((table[r, u] - table[:, u].mean()) ** 2 for r in range(k) for u in range(n)) / (n * (k - 1))
        error = (within * n * (k - 1) - columns * (k - 1)) / ((n - 1) * (k - 1))
        if rows < 1e-9 or abs(rows + (columns - error) / n) < 1e-9 or rows + (k - 1) * error < 1e-9:
            continue
        for form, value in {
            "1,1": (rows - within) / (rows + (k - 1) * within),
            "A,1": (rows - error) / (rows + (k - 1) * error + k / n * (columns - error)),
            "C,1": (rows - error) / (rows + (k - 1) * error),
            "1,k": 1 - within / rows,
            "A,k": (rows - error) / (rows + (columns - error) / n),
            "C,k": 1 - error / rows,
        }.items():
            assert agreement.icc(table.tolist(), form) == pytest.approx(value, abs=1e-8), (form, table)
        assert agreement.icc((table + 1e6).tolist()) == pytest.approx(agreement.icc(table.tolist()), abs=1e-6)


def test_icc_leaves_out_the_units_that_somebody_left_out() -> None:
    assert agreement.icc([[1, 2, 4, 5], [1, 3, None, 5]]) == agreement.icc([[1, 2, 5], [1, 3, 5]])


@tables
def test_rates(n_tables: int) -> None:
    rng = rng_of("rates")
    z = stats.norm.ppf(0.975)
    for _ in range(n_tables):
        n = int(rng.integers(1, 200))
        k = int(rng.integers(0, n + 1))
        low, high = intervals.wilson(k, n)
        # Its ends are the rates that are just not refused: (k/n − p)² = z² p (1 − p) ÷ n.
        for p in (low, high):
            assert (k / n - p) ** 2 == pytest.approx(z**2 * p * (1 - p) / n, abs=1e-12)  # type: ignore[operator]
        other = stats.binomtest(k, n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((other.low, other.high), abs=1e-12)


@tables
def test_differences_of_rates(n_tables: int) -> None:
    rng = rng_of("differences")
    for _ in range(n_tables):
        a, b, c, d = (int(each) for each in rng.multinomial(rng.integers(1, 80), rng.dirichlet([1, 1, 1, 1])))
        n = a + b + c + d
        difference, low, high = intervals.newcombe_paired(a, b, c, d)
        (l1, u1), (l2, u2) = intervals.wilson(a + b, n), intervals.wilson(a + c, n)
        p1, p2 = (a + b) / n, (a + c) / n
        up, excess = (a + b) * (c + d) * (a + c) * (b + d), a * d - b * c
        excess = excess - n / 2 if excess > n / 2 else 0 if excess >= 0 else excess
        phi = excess / up**0.5 if up else 0
        delta = ((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2) ** 0.5  # type: ignore[operator]
        epsilon = ((p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u1 - p1) + (u1 - p1) ** 2) ** 0.5  # type: ignore[operator]
        assert (difference, low, high) == pytest.approx((p1 - p2, p1 - p2 - delta, p1 - p2 + epsilon), abs=1e-9)
        assert -1 <= low <= difference <= high <= 1  # type: ignore[operator]
        turned = intervals.newcombe_paired(a, c, b, d)
        assert turned == pytest.approx((-difference, -high, -low), abs=1e-9)  # type: ignore[operator]
        k1, k2, n1, n2 = a, c, a + b + 1, c + d + 1
        (l1, u1), (l2, u2) = intervals.wilson(k1, n1), intervals.wilson(k2, n2)
        p1, p2 = k1 / n1, k2 / n2
        reach = ((p1 - l1) ** 2 + (u2 - p2) ** 2) ** 0.5, ((u1 - p1) ** 2 + (p2 - l2) ** 2) ** 0.5  # type: ignore[operator]
        assert intervals.newcombe(k1, n1, k2, n2) == pytest.approx(
            (p1 - p2, p1 - p2 - reach[0], p1 - p2 + reach[1]), abs=1e-9
        )


@tables
def test_means_and_their_errors(n_tables: int) -> None:
    rng = rng_of("means")
    for _ in range(n_tables):
        a, b = rng.normal(0, 1, (2, int(rng.integers(2, 30))))
        _, low, high = intervals.mean(a - b)
        other = stats.ttest_rel(a, b).confidence_interval()
        assert (low, high) == pytest.approx((other.low, other.high))
        assert errors.naive(a) == pytest.approx(stats.sem(a))
        assert errors.paired(a, b) == pytest.approx(stats.sem(a - b))
        assert errors.unpaired(a, b) == pytest.approx(np.sqrt(stats.sem(a) ** 2 + stats.sem(b) ** 2))
        clusters = [f"dialogue {each}" for each in rng.integers(0, 5, len(a))]
        means = [np.mean([v for v, each in zip(a, clusters, strict=True) if each == name]) for name in set(clusters)]
        if len(means) < 2:
            continue
        other = stats.ttest_1samp(means, 0).confidence_interval()
        assert intervals.mean(a, clusters) == pytest.approx((np.mean(means), other.low, other.high))
        together = sum(
            (x - a.mean()) * (y - a.mean())
            for (x, one), (y, two) in itertools.product(zip(a, clusters, strict=True), repeat=2)
            if one == two
        )
        assert errors.clustered(a, clusters) == pytest.approx(max(together, 0) ** 0.5 / len(a), abs=1e-9)


@tables
def test_quantiles(n_tables: int) -> None:
    rng = rng_of("quantiles")
    for _ in range(n_tables):
        values = np.round(rng.lognormal(0, 0.5, int(rng.integers(1, 150))), 2)
        q = float(rng.choice([0.5, 0.9, 0.95, 0.1]))
        value, low, high = intervals.quantile(values, q)
        n, ordered = len(values), np.sort(values)
        assert value == pytest.approx(np.quantile(values, q))
        # The highest rank that is too high, and the lowest that is too low, with 2.5 % at most.
        ranks = np.arange(1, n + 1)
        below = ranks[stats.binom.cdf(ranks - 1, n, q) <= 0.025 + 1e-12]
        above = ranks[stats.binom.sf(ranks - 1, n, q) <= 0.025 + 1e-12]
        if len(below) and len(above):
            assert (low, high) == (ordered[below.max() - 1], ordered[above.min() - 1])
        else:
            assert (low, high) == (None, None)


@tables
def test_sign_flips_and_ranks(n_tables: int) -> None:
    rng = rng_of("signs")
    for _ in range(n_tables // 5):
        differences = rng.integers(-6, 7, int(rng.integers(1, 10))).tolist()
        sums = [
            sum(s * d for s, d in zip(signs, differences, strict=True))
            for signs in itertools.product((1, -1), repeat=len(differences))
        ]
        p = sum(abs(each) >= abs(sum(differences)) for each in sums) / len(sums)
        assert paired.sign_flip(differences) == p, differences
        assert paired.sign_flip([each / 10 for each in differences]) == p, differences
        nonzero = [each for each in differences if each]
        ranks = stats.rankdata(np.abs(nonzero)) if nonzero else []
        sums = [
            sum(r for r, sign in zip(ranks, signs, strict=True) if sign > 0)
            for signs in itertools.product((1, -1), repeat=len(nonzero))
        ]
        plus = sum(r for r, each in zip(ranks, nonzero, strict=True) if each > 0)
        middle = sum(ranks) / 2
        p = sum(abs(each - middle) >= abs(plus - middle) for each in sums) / len(sums)
        assert paired.wilcoxon(differences) == (sum(ranks) - plus, plus, pytest.approx(p)), differences


def test_random_signs_come_to_what_all_of_them_give() -> None:
    rng = rng_of("random signs")
    for _ in range(10):
        differences = rng.normal(0.3, 1, 21)
        sums = np.zeros(1)
        for each in differences:
            sums = np.concatenate((sums + each, sums - each))
        p = np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-9)
        assert paired.sign_flip(differences, resamples=20_000) == pytest.approx(p, abs=5 * (p / 20_000) ** 0.5)


@tables
def test_mcnemar_and_repeats(n_tables: int) -> None:
    rng = rng_of("others")
    for _ in range(n_tables):
        b, c = (int(each) for each in rng.integers(0, 40, 2))
        p = stats.binomtest(b, b + c).pvalue if b + c else 1
        assert paired.mcnemar(b, c) == pytest.approx(p)
        assert pairs.left_bias(b, b + c) == (pytest.approx(p) if b + c else None)
        n = int(rng.integers(1, 9))
        tries = [1] * (c := int(rng.integers(0, n + 1))) + [0] * (n - c)
        k = int(rng.integers(1, n + 1))
        chosen = list(itertools.combinations(tries, k))
        assert repeats.pass_at_k(n, c, k) == pytest.approx(np.mean([any(each) for each in chosen]))
        assert repeats.pass_hat_k(n, c, k) == pytest.approx(np.mean([all(each) for each in chosen]))


def plain_holm(ps: list[float]) -> list[float]:
    """The smallest level at which each would be rejected: all smaller ones must be, too."""
    by_size = sorted(ps)
    return [
        max(min((len(ps) - before) * each, 1.0) for before, each in enumerate(by_size) if each <= mine) for mine in ps
    ]


def test_holm() -> None:
    rng = rng_of("holm")
    for _ in range(200):
        ps = rng.random(int(rng.integers(1, 30))) ** 3
        ps[-1] = ps[0]  # ties
        assert paired.holm(ps) == pytest.approx(plain_holm(list(ps)))
    assert paired.holm(ps) == pytest.approx(multipletests(ps, method="holm")[1])


def test_none_among_ps_is_passed_through() -> None:
    assert paired.holm([0.01, None, 0.04, 0.03, 0.005]) == [
        pytest.approx(0.03),
        None,
        pytest.approx(0.06),
        pytest.approx(0.06),
        pytest.approx(0.02),
    ]


@tables
def test_bradley_terry_is_where_expected_and_counted_wins_are_equal(n_tables: int) -> None:
    rng = rng_of("pairs")
    for _ in range(n_tables // 4):
        k = int(rng.integers(2, 7))
        wins = rng.integers(0, 12, (k, k)) / 2
        np.fill_diagonal(wins, 0)
        strengths = pairs.bradley_terry(wins)
        if strengths is None or 0 in strengths:
            continue
        s = np.array(strengths)
        assert s.sum() == pytest.approx(1)
        expected = ((wins + wins.T) * (s[:, None] / (s[:, None] + s))).sum(axis=1)
        assert expected == pytest.approx(wins.sum(axis=1), abs=1e-5)


@tables
def test_word_and_character_errors(n_tables: int) -> None:
    def edits(a: list[str] | str, b: list[str] | str) -> int:
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            before, row[0] = row[0], i
            for j, y in enumerate(b, 1):
                before, row[j] = row[j], min(before + (x != y), row[j] + 1, row[j - 1] + 1)
        return row[-1]

    rng = rng_of("words")
    for _ in range(n_tables):
        said, heard = ([" ".join(rng.choice(["a", "bc", "def"], rng.integers(0, 6))) for _ in range(4)] for _ in "12")
        words = sum(len(each.split()) for each in said)
        wrong = sum(edits(a.split(), b.split()) for a, b in zip(said, heard, strict=True))
        same(text.wer(said, heard), wrong / words if words else None, (said, heard))
        characters = sum(map(len, said))
        wrong = sum(edits(a, b) for a, b in zip(said, heard, strict=True))
        same(text.cer(said, heard), wrong / characters if characters else None, (said, heard))


def test_normalisers() -> None:
    assert text.wer(["Mr. Smith's, COLOUR"], ["mister smith is color"], "english") == 0
    assert text.wer(["Hello, World!"], ["hello world"], "basic") == 0
    assert text.wer(["Hello, World!"], ["hello world"]) == 1
    assert text.wer(["Hello"], ["hello"], str.lower) == 0
    assert text.wer(["um"], ["hello"], "english") is None  # nothing remains of it
