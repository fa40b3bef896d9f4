"""The values that the field's papers and test suites have: computed ones to 1e-6, quoted ones to their digits."""

from __future__ import annotations

from typing import Any

import pytest

from openomni.evaluation import agreement, errors, intervals, paired, pairs, repeats, text


def near(value: Any) -> Any:
    return pytest.approx(value, abs=1e-6)


def quoted(value: Any, digits: int) -> Any:
    """Half of the last digit that was printed."""
    return pytest.approx(value, abs=0.5000001 * 10**-digits)


def rows(lines: str, separator: str = "/") -> list[list[int | None]]:
    return [[None if each == "." else int(each) for each in line.split()] for line in lines.split(separator)]


KRIPPENDORFF = rows(
    "1 2 3 3 2 1 4 1 2 . . . / 1 2 3 3 2 2 4 1 2 5 . 3 / . 3 3 3 2 3 4 2 2 5 1 . / 1 2 3 3 2 4 4 1 2 5 1 ."
)
FLEISS = rows(
    "0 0 0 0 14;0 2 6 4 2;0 0 3 5 6;0 3 9 2 0;2 2 8 1 1;7 7 0 0 0;3 2 6 3 0;2 5 3 2 2;6 5 2 1 0;0 2 2 3 7", ";"
)
SHROUT_FLEISS = rows("9 2 5 8;6 1 3 2;8 4 6 8;7 1 2 6;10 5 6 9;6 2 4 7", ";")
DARWIN = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]
A, B = [1, 1, 1, 1, 0, 1, 1, 0, 1, 1], [1, 1, 0, 1, 0, 1, 0, 0, 1, 0]
IN_CLUSTERS = [1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 1, 0]
CLUSTERS = ["a"] * 3 + ["b"] * 3 + ["c"] * 3 + ["d"] * 3


def units_of(counts: list[Any]) -> list[list[int | None]]:
    """Counts of units × categories as raters × units."""
    return [
        list(column)
        for column in zip(*([at for at, n in enumerate(row) for _ in range(n)] for row in counts), strict=True)
    ]


def test_alpha() -> None:
    alpha = agreement.krippendorff_alpha
    assert alpha([list("0100000010"), list("1110010000")]) == near(0.095238)
    assert alpha([list("aabbdcccedda"), list("babbbccceddd")]) == near(0.691964)
    for level, value in (("nominal", 904 / 1216), ("ordinal", 0.815388), ("interval", 0.849107), ("ratio", 0.797403)):
        assert alpha(KRIPPENDORFF, level) == near(value), level  # type: ignore[arg-type]
    assert alpha(KRIPPENDORFF) == near(0.743421)


def test_alpha_of_complete_data_follows_from_fleiss_kappa() -> None:
    kappa, n = agreement.fleiss_kappa(FLEISS), 140
    assert kappa == quoted(0.2099, 4)
    assert agreement.krippendorff_alpha(units_of(FLEISS)) == near(0.215574)
    assert agreement.krippendorff_alpha(units_of(FLEISS)) == near(1 - (1 - kappa) * (n - 1) / n)


def test_cohens_kappa() -> None:
    table = [[0, 4, 1], [0, 8, 0], [0, 1, 5]]
    assert agreement.cohen_kappa(table) == quoted(0.4842, 4)
    assert agreement.cohen_kappa(table, weights="linear") == quoted(0.4701, 4)


def test_ac1() -> None:
    assert agreement.gwet_ac1(KRIPPENDORFF) == quoted(0.775, 3)


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("1,1", 0.1657),
        ("2,1", 0.2898),
        ("3,1", 0.7148),
        ("1,k", 0.4428),
        ("2,k", 0.6201),
        ("3,k", 0.9093),
        ("A,1", 0.2898),
        ("C,1", 0.7148),
    ],
)
def test_icc(form: str, value: float) -> None:
    raters = [list(column) for column in zip(*SHROUT_FLEISS, strict=True)]
    assert agreement.icc(raters, form) == quoted(value, 4)
    if form == "2,1":
        assert agreement.icc(raters) == agreement.icc(raters, form)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson(k: int, n: int, low: float, high: float) -> None:
    assert intervals.wilson(k, n) == (quoted(low, 4), quoted(high, 4))
    mirrored = intervals.wilson(n - k, n)
    assert mirrored == (near(1 - intervals.wilson(k, n)[1]), near(1 - intervals.wilson(k, n)[0]))  # type: ignore[operator]


def test_newcombe() -> None:
    assert intervals.newcombe(56, 70, 48, 80) == (near(0.2), quoted(0.0524, 4), quoted(0.3339, 4))
    assert intervals.newcombe(9, 10, 3, 10) == (near(0.6), quoted(0.1705, 4), quoted(0.8090, 4))
    assert intervals.newcombe(5, 56, 0, 29) == (near(5 / 56), quoted(-0.0381, 4), quoted(0.1926, 4))
    assert intervals.newcombe_paired(36, 12, 2, 0) == (near(0.2), quoted(0.0569, 4), quoted(0.3404, 4))


def test_mcnemar() -> None:
    assert paired.mcnemar(121, 59) == pytest.approx(4.4344492637555e-06, rel=1e-12)
    for b, c, p in ((70, 59, 0.378688), (80, 59, 0.089452), (30, 60, 0.002060), (10, 10, 1), (3, 0, 0.25)):
        assert paired.mcnemar(b, c) == near(p)
        assert paired.mcnemar(c, b) == near(p)


def test_signs_and_ranks() -> None:
    assert paired.wilcoxon(DARWIN) == (24, 96, near(0.041259765625))
    assert paired.sign_flip(DARWIN) == 1726 / 32768 == 0.05267333984375
    assert paired.sign_flip([each / 10 for each in DARWIN]) == 1726 / 32768  # not by luck of whole numbers


def test_holm() -> None:
    assert paired.holm([0.01, 0.04, 0.03, 0.005]) == near([0.03, 0.06, 0.06, 0.02])


def test_errors() -> None:
    assert intervals.mean([a - b for a, b in zip(A, B, strict=True)])[0] == near(0.3)
    assert errors.paired(A, B) == quoted(0.1528, 4)
    assert errors.unpaired(A, B) == quoted(0.2134, 4)
    assert [intervals.mean(IN_CLUSTERS)[0], intervals.mean(IN_CLUSTERS, CLUSTERS)[0]] == near([0.5, 0.5])
    assert errors.naive(IN_CLUSTERS) == quoted(0.1508, 4)
    assert errors.clustered(IN_CLUSTERS, CLUSTERS) == quoted(0.1863, 4)


def test_repeats() -> None:
    assert repeats.pass_at_k(8, 6, 2) == quoted(0.9643, 4)
    for k, value in ((2, 0.5357), (3, 0.3571), (8, 0)):
        assert repeats.pass_hat_k(8, 6, k) == quoted(value, 4)


def test_bradley_terry() -> None:
    wins = [[0, 2, 0, 1], [3, 0, 5, 0], [0, 3, 0, 1], [4, 0, 3, 0]]
    assert pairs.bradley_terry(wins) == quoted([0.1387, 0.2262, 0.1430, 0.4921], 4)


def test_word_errors() -> None:
    assert text.wer(["This is a test"], ["This test"]) == near(0.5)
    assert text.wer("This is a test", "This test") == near(0.5)
    nine = "one two three four five six seven eight nine"
    assert text.wer(["one", nine], ["two", nine]) == near(0.1)
