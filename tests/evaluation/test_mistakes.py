"""The field's mistakes, one a test: what some tool reports, and what is right."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest

from openomni.evaluation import agreement, errors, intervals, paired, pairs, repeats, text

from .test_values import IN_CLUSTERS, KRIPPENDORFF


def test_a_p_of_random_patterns_is_never_0() -> None:
    assert paired.sign_flip([1.0] * 60, resamples=99) == 1 / 100
    assert paired.sign_flip([1.0] * 60, resamples=9999) == 1 / 10_000


def test_the_seed_is_an_argument_and_the_same_one_draws_the_same() -> None:
    differences = np.random.default_rng(1).normal(0.3, 1, 30)
    assert paired.sign_flip(differences, seed=4) == paired.sign_flip(differences, seed=4)
    assert len({paired.sign_flip(differences, seed=seed) for seed in range(8)}) > 1
    assert intervals.bootstrap(differences, np.median, seed=4) == intervals.bootstrap(differences, np.median, seed=4)
    assert agreement.alpha_interval(KRIPPENDORFF, seed=4) == agreement.alpha_interval(KRIPPENDORFF, seed=4)
    assert agreement.alpha_interval(KRIPPENDORFF, seed=4) != agreement.alpha_interval(KRIPPENDORFF, seed=5)
    state = random.getstate(), np.random.get_state()[1].tolist()
    paired.sign_flip(differences)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state  # nobody else's generator is touched


def test_sums_that_differ_by_rounding_only_are_equal() -> None:
    tenths = [0.1, 0.2, 0.3, 0.3, -0.1, 0.6]
    assert paired.sign_flip(tenths) == paired.sign_flip([1, 2, 3, 3, -1, 6])
    many = tenths * 5
    assert paired.sign_flip(many, seed=2) == paired.sign_flip([round(10 * each) for each in many], seed=2)
    # 0.3 − 0.1 and 0.2 share a rank, though they are not the same number.
    assert paired.wilcoxon([0.3 - 0.1, -0.2, 0.5]) == paired.wilcoxon([2, -2, 5])


def test_up_to_20_differences_every_pattern_is_looked_at() -> None:
    twenty = np.arange(1, 21)
    assert paired.sign_flip(twenty) == 2 / 2**20
    assert paired.sign_flip(twenty, seed=1) == paired.sign_flip(twenty, seed=2)
    assert paired.sign_flip([*twenty, 0, 0, 0]) == 2 / 2**20  # a 0 has no sign to flip
    assert paired.sign_flip(np.arange(1, 22)) == 1 / 10_000


def test_pass_hat_k_is_unbiased() -> None:
    assert repeats.pass_hat_k(5, 3, 5) == 0 != pytest.approx((3 / 5) ** 5)
    # Over all that could have come out, the estimate is the truth.
    p, n, k = 0.7, 8, 3
    chance = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    assert sum(w * repeats.pass_hat_k(n, c, k) for c, w in enumerate(chance)) == pytest.approx(p**k)
    assert sum(w * repeats.pass_at_k(n, c, k) for c, w in enumerate(chance)) == pytest.approx(1 - (1 - p) ** k)


def test_a_simulation_that_broke_off_is_a_failure_and_not_repeated_until_one_is_valid() -> None:
    assert repeats.pass_at_k(4, 1, 1) == 1 / 4
    with pytest.raises(ValueError, match="no more can succeed than were tried"):
        repeats.pass_at_k(1, 4, 1)


def test_who_talks_over_people_is_early_and_not_fast_or_dropped() -> None:
    signed = [-0.4, -0.2, 0.0, *np.linspace(0.3, 1.2, 40)]
    value, low, high = intervals.quantile(signed, 0.05)
    assert value is not None
    assert value == pytest.approx(np.quantile(signed, 0.05))
    assert intervals.quantile(signed, 0.01)[0] < -0.2  # type: ignore[operator]
    assert (low, high) == (None, None)  # of 43 values none is surely below the 5 %
    assert intervals.mean(signed)[0] == pytest.approx(np.mean(signed))


def test_who_never_answers_is_not_dropped() -> None:
    answered = [0.8 + each / 1000 for each in range(300)]
    dropped, censored = intervals.quantile(answered, 0.5), intervals.quantile([*answered, *[math.inf] * 100], 0.5)
    assert dropped[0] < censored[0]  # type: ignore[operator]
    assert None not in censored
    # A quarter never came: so did what p90 would be.
    assert intervals.quantile([*answered, *[math.inf] * 100], 0.9) == (None, None, None)
    # p74 did, but not surely.
    assert intervals.quantile([*answered, *[math.inf] * 100], 0.74)[1:] == (None, None)
    with pytest.raises(ValueError, match=r"values\[300\] is inf"):
        intervals.mean([*answered, math.inf])


def test_nothing_is_trimmed() -> None:
    assert intervals.mean([1.0] * 19 + [1000.0])[0] == pytest.approx(1019 / 20)


def test_what_does_not_apply_is_no_0() -> None:
    with pytest.raises(ValueError, match=r"values\[1\] is None, no number; leave out what is missing"):
        intervals.mean([4, None, 5])  # type: ignore[list-item]


def test_an_answer_that_cannot_be_parsed_is_no_letter() -> None:
    assert agreement.krippendorff_alpha([["a", "b", None, "a"], ["a", "b", "b", "a"]]) == 1
    with pytest.raises(ValueError, match=r"ratings\[0\]\[2\] is NaN; give None"):
        agreement.krippendorff_alpha([["a", "b", math.nan, "a"], ["a", "b", "b", "a"]])


def test_an_error_is_that_of_the_mean_and_no_standard_deviation() -> None:
    values = np.random.default_rng(3).normal(0, 1, 400)
    _, low, high = intervals.mean(values)
    assert high - low == pytest.approx(2 * 1.966 * errors.naive(values), rel=1e-3)  # type: ignore[operator]
    assert high - low < 0.25  # type: ignore[operator]


@pytest.mark.parametrize("level", agreement.LEVELS)
def test_the_interval_of_alpha_contains_it(level: agreement.Level) -> None:
    rng = np.random.default_rng(5)
    for _ in range(40):
        # Fewer raters than units: of the transposed table alpha is another one.
        table = rng.integers(1, 5, (3, 14)).tolist()
        table[1] = list(table[0])
        table[2][:7] = table[0][:7]
        alpha = agreement.krippendorff_alpha(table, level)
        low, high = agreement.alpha_interval(table, level, resamples=300)
        assert alpha is not None
        assert low <= alpha <= high  # type: ignore[operator]
        assert high <= 1 + 1e-12  # type: ignore[operator]


def test_the_interval_of_alpha_resamples_units_and_not_the_errors_of_pairs() -> None:
    """Units are judged alike by five raters or not: they, and not pairs of ratings, are what another draw changes."""
    rng = np.random.default_rng(6)
    clear = rng.random(40) < 0.5
    table = np.where(clear, np.arange(40) % 2, rng.integers(0, 2, (20, 40))).tolist()
    low, high = agreement.alpha_interval(table, resamples=500)
    import evalica
    import pandas as pd

    narrow = evalica.alpha_bootstrap(pd.DataFrame(table), n_resamples=500, random_state=0)
    assert high - low > 2 * (narrow.high - narrow.low)  # type: ignore[operator]


@pytest.mark.parametrize(
    "table",
    [[[1, 1, 1], [1, 1, 1]], [[3, None], [None, 3]], [["x", "x", "y"], ["x", "x", None]], [[1, 2, 3]], [], [[]]],
)
def test_where_nothing_varies_or_nothing_is_rated_twice_agreement_is_undefined(table: list[list[object]]) -> None:
    assert agreement.krippendorff_alpha(table) is None
    assert agreement.alpha_interval(table) == (None, None)
    assert agreement.gwet_ac1([row[:2] for row in table]) is None
    if not any(isinstance(each, str) for row in table for each in row):
        assert agreement.icc(table) is None


def test_what_is_undefined_is_none_everywhere_and_json_has_no_nan() -> None:
    nothing = {
        "cohen": [agreement.cohen_kappa([[5, 0], [0, 0]], weights) for weights in (None, "linear", "quadratic")],  # type: ignore[arg-type]
        "fleiss": [agreement.fleiss_kappa(each) for each in ([], [[3, 0], [3, 0]], [[1, 0], [0, 1]], [[0, 0], [0, 0]])],
        "icc": [agreement.icc(each) for each in ([[1, 1], [1, 1]], [[1, 2]], [[1], [2]], [[None, 1], [1, None]])],
        "rates": [*intervals.wilson(0, 0), *intervals.newcombe(0, 0, 1, 2), *intervals.newcombe_paired(0, 0, 0, 0)],
        "mean": [*intervals.mean([]), *intervals.mean([2.0])[1:], *intervals.mean([1, 2, 3], ["a"] * 3)[1:]],
        "quantile": [*intervals.quantile([], 0.5), *intervals.quantile([1.0, 2.0], 0.5)[1:]],
        "bootstrap": [*intervals.bootstrap([], np.median), *intervals.bootstrap([1, 2], np.mean, ["a", "a"])],
        "statistic": intervals.bootstrap([1.0, 2.0, 3.0], lambda each: math.nan),
        "errors": [errors.paired([1], [2]), errors.unpaired([], [1, 2]), errors.clustered([1, 2], ["a", "a"])],
        "paired": [paired.sign_flip([]), paired.wilcoxon([])[2], *paired.holm([None])],
        "pairs": [pairs.bradley_terry([]), pairs.bradley_terry([[0, 0], [0, 0]]), pairs.left_bias(0, 0)],
        "text": [text.wer([], []), text.wer([""], ["a"]), text.cer([" "], ["a"])],
    }
    assert all(each is None for values in nothing.values() for each in values), nothing
    json.dumps(nothing, allow_nan=False)


def test_word_errors_are_those_of_the_corpus_and_not_the_mean_of_its_rows() -> None:
    assert text.wer(["a", "b c d e f g h i j"], ["x", "b c d e f g h i j"]) == pytest.approx(0.1)
    assert text.wer(["a", "b c d e f g h i j"], ["a", "b x d e f g h i j"]) == pytest.approx(0.1)


def test_an_empty_reference_is_not_right_whatever_was_heard() -> None:
    assert text.wer(["", "a b"], ["", "a b"]) == 0
    assert text.wer(["", "a b"], ["thank you very much", "a b"]) == 2
    assert text.cer(["", "ab"], ["xyz", "ab"]) == 1.5
    assert text.wer(["a b"], [""]) == 1


def test_a_pair_is_compared_as_a_pair() -> None:
    """The same 300 items: samples differ far more than pipelines."""
    rng = np.random.default_rng(8)
    sample = rng.normal(0, 1, 300)
    a, b = sample + rng.normal(0.04, 0.2, 300), sample + rng.normal(0, 0.2, 300)
    difference = float(np.mean(a - b))
    assert abs(difference) > 2 * errors.paired(a, b)  # type: ignore[operator]
    assert abs(difference) < 1 * errors.unpaired(a, b)  # type: ignore[operator]


def test_turns_of_a_dialogue_are_not_independent() -> None:
    clusters = [each // 3 for each in range(12)]
    assert errors.clustered(IN_CLUSTERS, clusters) > errors.naive(IN_CLUSTERS)  # type: ignore[operator]
    _, low, high = intervals.mean(IN_CLUSTERS, clusters)
    means = [1, 0, 2 / 3, 1 / 3]
    assert (low, high) == pytest.approx(
        (0.5 - 3.182446 * np.std(means, ddof=1) / 2, 0.5 + 3.182446 * np.std(means, ddof=1) / 2), abs=1e-6
    )


def test_a_percentile_with_fewer_than_10_values_beyond_it_is_not_shown() -> None:
    assert [intervals.enough(n, 0.95) for n in (0, 199, 200)] == [False, False, True]
    assert [intervals.enough(n, 0.5) for n in (19, 20)] == [False, True]
    assert [intervals.enough(n, 0.05) for n in (199, 200)] == [False, True]


def test_a_rate_of_0_or_1_is_not_certain() -> None:
    assert intervals.wilson(20, 20)[0] < 0.85  # type: ignore[operator]
    assert intervals.newcombe_paired(20, 0, 0, 0)[1:] == pytest.approx((-0.161125, 0.161125), abs=1e-6)


def test_who_never_lost_is_infinitely_stronger_and_who_was_never_compared_is_undefined() -> None:
    assert pairs.bradley_terry([[0, 3], [0, 0]]) == [1, 0]
    assert pairs.bradley_terry([[0, 3, 1], [1, 0, 1], [0, 0, 0]]) == pytest.approx([0.75, 0.25, 0])
    assert pairs.bradley_terry([[0, 3, 0], [1, 0, 0], [0, 0, 0]]) is None
    assert pairs.bradley_terry([[0, 1.5], [1.5, 0]]) == pytest.approx([0.5, 0.5])  # ties are half a win for both
    assert pairs.bradley_terry([[0]]) == [1]


def test_the_left_one_is_chosen_too_often() -> None:
    assert pairs.left_bias(70, 100) == pytest.approx(7.85e-5, rel=1e-3)
    assert pairs.left_bias(50, 100) == 1
    assert pairs.left_bias(0, 1) == 1


def test_what_pairs_say_depends_on_raters_and_items_and_not_on_votes() -> None:
    """A hundred votes of five raters who each have a favourite are five opinions."""
    rng = np.random.default_rng(9)
    favour = [0.9, 0.9, 0.8, 0.3, 0.2]
    votes = [
        (rater, item, "a", "b", float(rng.random() < favour[rater])) for rater in range(5) for item in range(20)
    ]  # fmt: skip
    found = pairs.intervals(votes, resamples=300)
    strength, low, high = found["a"]
    won = sum(vote[4] for vote in votes)
    assert strength == pytest.approx(won / 100)
    assert high - low > 1.5 * np.subtract(*reversed(intervals.wilson(int(won), 100)))  # type: ignore[operator]
    assert found["b"] == pytest.approx((1 - strength, 1 - high, 1 - low), abs=1e-6)  # type: ignore[operator]
    assert found == pairs.intervals(votes, resamples=300)
    assert pairs.intervals(votes[:20], resamples=20)["a"][1:] == (None, None)  # one rater
    assert pairs.intervals([]) == {}
    assert pairs.intervals([(1, 1, "a", "b", 0.5), (1, 1, "c", "d", 1)])["a"] == (None, None, None)
    for wrong in ((1, 1, "a", "b"), (1, 1, "a", "a", 1), (1, None, "a", "b", 1), (1, 1, "a", "b", 2), "abcde"):
        with pytest.raises(ValueError, match=r"votes\[0\]"):
            pairs.intervals([wrong])  # type: ignore[list-item]


def test_beside_alpha_stand_raw_agreement_and_alpha_without_each_rater() -> None:
    ratings = [["a", "b", "a", "b"], ["a", "b", "a", "b"], ["b", "a", "b", None]]
    assert agreement.observed(ratings) == pytest.approx((1 / 3 * 3 + 1) / 4)
    with_both = agreement.krippendorff_alpha([ratings[0], ratings[2]])
    assert agreement.left_out(ratings) == [with_both, with_both, 1]
    assert agreement.observed([["a", None]]) is None
