"""What doesn't fit is refused in one line that says what, where and the mend; what fits gives numbers or None."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openomni.evaluation import agreement, errors, intervals, paired, pairs, repeats, text

few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

NUMBERS = {
    "intervals.mean": intervals.mean,
    "intervals.quantile": lambda values: intervals.quantile(values, 0.5),
    "intervals.bootstrap": lambda values: intervals.bootstrap(values, np.mean, resamples=50),
    "bca": lambda values: intervals.bootstrap(values, np.median, resamples=50),
    "errors.naive": errors.naive,
    "errors.paired": lambda values: errors.paired(values, values),
    "errors.unpaired": lambda values: errors.unpaired(values, [1, 2]),
    "errors.clustered": lambda values: errors.clustered(values, [0, 1, 2]),
    "paired.sign_flip": lambda values: paired.sign_flip(values, resamples=50),
    "paired.wilcoxon": paired.wilcoxon,
}
COUNTS: dict[str, Callable[..., Any]] = {
    "wilson": lambda n: intervals.wilson(0, n),
    "newcombe": lambda n: intervals.newcombe(0, n, 0, 3),
    "newcombe_paired": lambda n: intervals.newcombe_paired(1, 1, 1, n),
    "mcnemar": lambda n: paired.mcnemar(1, n),
    "left_bias": lambda n: pairs.left_bias(0, n),
    "pass_at_k": lambda n: repeats.pass_at_k(n, 0, 1),
    "pass_hat_k": lambda n: repeats.pass_hat_k(n, 0, 1),
    "resamples": lambda n: paired.sign_flip([1.0], resamples=n),
    "seed": lambda n: paired.sign_flip([1.0], seed=n),
}


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(ValueError, match=r".+") as caught:
        call()
    line = str(caught.value)
    assert type(caught.value) is ValueError
    assert len(line.splitlines()) == 1
    assert 10 < len(line) < 200, line
    return line


def plain(value: Any) -> None:
    """Numbers, None, and lists and tuples of them: JSON takes it, and nothing of numpy is left."""
    if isinstance(value, (list, tuple)):
        for each in value:
            plain(each)
    else:
        assert value is None or type(value) in (int, float), repr(value)
    json.dumps(value, allow_nan=False)


def runs(call: Callable[[], Any]) -> None:
    """A value of the right kind or one line; no warning of numpy's."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrong = value = None
        try:
            value = call()
        except ValueError as error:
            wrong = error
    assert wrong is None or (type(wrong) is ValueError and len(str(wrong).splitlines()) == 1), wrong
    plain(value)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "values",
    [
        [1.0, math.nan, 2.0],
        [1.0, -math.inf, 2.0],
        [1.0, None, 2.0],
        [1, "2", 3],
        "123",
        5,
        None,
        [[1.0], [2.0], [3.0]],
        [1.0, [2.0], 3.0],
        [1j, 2, 3],
        {"a": 1.0},
        [1e200, 1.0, 2.0],
        [10**400, 1, 2],
        np.array([1.0, np.nan, 2.0]),
        np.ones((3, 2)),
        np.array(["a", "b", "c"]),
        pd.Series([1.0, None, 2.0]),
        [object()] * 3,
        b"123",
    ],
    ids=lambda values: repr(values)[:20],
)
def test_what_is_no_row_of_numbers(name: str, values: Any) -> None:
    refused(lambda: NUMBERS[name](values))


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("count", [-1, 2.5, math.nan, math.inf, "3", None, [1], True, 1j], ids=repr)
def test_what_is_no_count(name: str, count: Any) -> None:
    refused(lambda: COUNTS[name](count))


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: repeats.pass_hat_k(3, 2, 4), "k is 4 of n = 3; try 4 times, or ask for a k of 3 at most"),
        (lambda: repeats.pass_at_k(3, 4, 1), "c is 4 of n = 3; no more can succeed than were tried"),
        (lambda: repeats.pass_at_k(3, 2, 0), "k is 0; give 1 or more"),
        (lambda: repeats.pass_at_k(10**6, 2, 1), "n is 1000000; give 100000 at most"),
        (lambda: intervals.wilson(1, 10**30), "n is 1000000000000000000000000000000; give 9007199254740992 at most"),
        (lambda: intervals.wilson(4, 3), "k is 4 of n = 3; a rate is 1 at most"),
        (lambda: intervals.newcombe(1, 3, 4, 3), "k2 is 4 of n2 = 3; a rate is 1 at most"),
        (lambda: pairs.left_bias(4, 3), "left is 4 of n = 3; no more can be chosen than were asked for"),
        (lambda: errors.paired([1, 2], [1]), "a and b are 2 and 1; give as many of the one as of the other"),
        (
            lambda: intervals.mean([1, 2], ["a"]),
            "clusters and values are 1 and 2; give as many of the one as of the other",
        ),
        (lambda: intervals.mean([1, 2], ["a", None]), "clusters[1] is None; name the cluster of each value"),
        (lambda: intervals.mean([1, 2], "ab"), "clusters are str; give a list with a name for each value"),
        (lambda: intervals.quantile([1.0], 95), "q is 95; give a number between 0 and 1, such as 0.95"),
        (lambda: intervals.quantile([1.0], math.nan), "q is nan; give a number between 0 and 1, such as 0.95"),
        (
            lambda: intervals.bootstrap([1, 2], "mean"),
            "the statistic is str; give a function of an array, such as np.mean",
        ),
        (lambda: intervals.bootstrap([1, 2, 3], lambda each: "x"), "the statistic gave str; it has to give one number"),
        (lambda: intervals.bootstrap([1, 2], np.mean, resamples=0), "resamples is 0; give 1 or more"),
        (lambda: paired.sign_flip([1.0], seed=-1), "seed is -1; give 0 or more"),
        (lambda: paired.holm([0.1, 1.5]), "1.5 is no p; give values from 0 to 1"),
        (lambda: paired.holm([0.1, math.nan]), "ps[1] is nan; give finite numbers, and leave out what is missing"),
        (
            lambda: agreement.krippendorff_alpha([[1, 2]], "metric"),
            "the level is 'metric'; give one of nominal, ordinal, interval, ratio",
        ),
        (
            lambda: agreement.krippendorff_alpha([[1, 2], [1]]),
            "ratings[1] has 1 units, the first row 2; give None where one is missing",
        ),
        (lambda: agreement.krippendorff_alpha(["12", "12"]), "ratings[0] is str; give a list of that rater's ratings"),
        (
            lambda: agreement.krippendorff_alpha([["a"], ["b"]], "ordinal"),
            "ratings[0][0] is 'a'; this level needs finite numbers, nominal takes names",
        ),
        (
            lambda: agreement.krippendorff_alpha([[1], [-1]], "ratio"),
            "ratings[1][0] is -1; a ratio scale begins at 0: use interval",
        ),
        (lambda: agreement.krippendorff_alpha([[[1]], [1]]), "ratings[0][0] is [1]; give a number, a text or None"),
        (
            lambda: agreement.icc([["a"], ["b"]]),
            "ratings[0][0] is 'a'; this level needs finite numbers, nominal takes names",
        ),
        (
            lambda: agreement.icc([[1, 2], [1, 2]], "4,1"),
            "the form is '4,1'; give one of 1,1, 2,1, 3,1, 1,k, 2,k, 3,k, A,1, C,1, A,k, C,k",
        ),
        (lambda: agreement.cohen_kappa([[1, 2]]), "table has 1 rows and 2 columns; give as many of both"),
        (lambda: agreement.cohen_kappa([[1, -2], [3, 4]]), "table[0] has -2; a count is 0 or more"),
        (lambda: agreement.cohen_kappa([[1, 2.5], [3, 4]]), "table[0] has a fraction; give whole counts"),
        (
            lambda: agreement.cohen_kappa([[1, 2], [3, 4]], "cubic"),
            "the weighting is 'cubic'; give one of linear, quadratic",
        ),
        (
            lambda: agreement.fleiss_kappa([[1, 2], [3, 4]]),
            "unit 1 has 7 ratings, unit 0 3; use krippendorff_alpha where some are missing",
        ),
        (lambda: agreement.fleiss_kappa([[1, 2], [3]]), "counts[1] has 1 columns, the first row 2; make them equal"),
        (lambda: pairs.bradley_terry([[1, 2], [3, 0]]), "somebody won against themselves; the table's diagonal is 0"),
        (
            lambda: pairs.bradley_terry([[0, math.nan], [3, 0]]),
            "wins[0][1] is nan; give finite numbers, and leave out what is missing",
        ),
        (
            lambda: text.wer(["a"], ["a", "b"]),
            "references and hypotheses are 1 and 2; give as many of the one as of the other",
        ),
        (lambda: text.wer(["a"], [None]), 'hypotheses[0] is NoneType, no text; give "" where nothing was'),
        (lambda: text.wer([1], ["a"]), "references[0] is int, no text; give texts"),
        (lambda: text.wer(None, ["a"]), "references are None; give a list"),
        (
            lambda: text.cer(["a"], ["a"], "french"),
            "there is no normaliser 'french'; there are: basic, english, or give a function",
        ),
        (lambda: text.wer(["a"], ["a"], 5), "the normaliser is int; give basic, english or a function"),
        (lambda: text.wer(["a"], ["a"], len), "the normaliser gave int; it has to give a text"),
    ],
)
def test_the_line_says_what_is_wrong_and_the_mend(call: Callable[[], Any], line: str) -> None:
    assert refused(call) == line


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.complex_numbers(),
    st.binary(max_size=2),
    st.lists(st.integers(0, 3), max_size=2),
    st.just(np.float32(1.5)),
    st.just(np.int64(2)),
    st.just(pd.NA),
    st.decimals(),
    st.fractions(),
)
numbers = st.lists(st.floats(-1e6, 1e6) | st.integers(-100, 100) | st.booleans(), max_size=40)
odd = st.one_of(anything, st.lists(anything, max_size=5), st.lists(st.floats(), max_size=30), numbers)


@pytest.mark.parametrize("name", NUMBERS)
@few
@given(values=odd)
def test_any_row(name: str, values: Any) -> None:
    runs(lambda: NUMBERS[name](values))


@pytest.mark.parametrize("name", COUNTS)
@few
@given(count=anything.filter(lambda each: not isinstance(each, int) or each < 10_000))
def test_any_count(name: str, count: Any) -> None:
    runs(lambda: COUNTS[name](count))


@few
@given(
    ratings=st.lists(st.lists(anything, max_size=5), max_size=4) | odd,
    level=st.sampled_from(agreement.LEVELS) | anything,
)
def test_any_ratings(ratings: Any, level: Any) -> None:
    runs(lambda: agreement.krippendorff_alpha(ratings, level))
    runs(lambda: agreement.alpha_interval(ratings, level, resamples=20))
    runs(lambda: agreement.gwet_ac1(ratings))
    runs(lambda: agreement.icc(ratings))


@few
@given(
    st.integers(2, 8).flatmap(
        lambda n: st.lists(st.lists(st.none() | st.floats(0, 1e6), min_size=n, max_size=n), min_size=2, max_size=4)
    )
)
def test_any_scale(ratings: Any) -> None:
    for level in agreement.LEVELS:
        alpha = agreement.krippendorff_alpha(ratings, level)
        low, high = agreement.alpha_interval(ratings, level, resamples=20)
        assert (alpha is None) or low is None or low <= alpha <= high  # type: ignore[operator]
        plain((alpha, low, high))
    for form in agreement.FORMS:
        plain(agreement.icc(ratings, form))


@few
@given(table=st.lists(st.lists(st.integers(0, 4) | anything, max_size=4), max_size=4) | odd)
def test_any_table(table: Any) -> None:
    runs(lambda: agreement.cohen_kappa(table))
    runs(lambda: agreement.cohen_kappa(table, "quadratic"))
    runs(lambda: agreement.fleiss_kappa(table))
    runs(lambda: pairs.bradley_terry(table))


@few
@given(values=numbers.filter(len), clusters=st.lists(st.integers(0, 4) | st.text(max_size=1), min_size=40, max_size=40))
def test_any_clusters(values: Any, clusters: Any) -> None:
    named = clusters[: len(values)]
    runs(lambda: intervals.mean(values, named))
    runs(lambda: errors.clustered(values, named))
    runs(lambda: intervals.bootstrap(values, np.mean, named, resamples=30))
    runs(lambda: intervals.bootstrap(values, np.median, named, resamples=30))


@few
@given(texts=odd | st.lists(st.text(max_size=12), max_size=4), others=odd | st.lists(st.text(max_size=12), max_size=4))
def test_any_text(texts: Any, others: Any) -> None:
    for normaliser in (None, "english", "basic"):
        runs(lambda: text.wer(texts, others, normaliser))  # noqa: B023
        runs(lambda: text.cer(texts, others, normaliser))  # noqa: B023


@few
@given(ps=st.lists(st.floats(0, 1) | anything, max_size=5))
def test_any_ps(ps: Any) -> None:
    runs(lambda: paired.holm(ps))


def test_without_its_libraries_the_line_says_what_to_install() -> None:
    code = (
        "import sys\n"
        "for each in ('scipy', 'statsmodels', 'evalica', 'jiwer', 'pandas', 'whisper_normalizer'):\n"
        "    sys.modules[each] = None\n"
        "import openomni\n"
        "from openomni.errors import OpenOmniError\n"
        "from openomni.evaluation import agreement, errors, intervals, paired, pairs, repeats, text\n"
        "print(repeats.pass_at_k(2, 1, 1), errors.naive([1, 2]), paired.sign_flip([1, 2]))\n"
        "for call in (lambda: agreement.krippendorff_alpha([[1, 2], [1, 2]]), lambda: intervals.wilson(1, 2),\n"
        "             lambda: paired.wilcoxon([1, 2]), lambda: text.wer('a', 'b'),\n"
        "             lambda: text.wer('a', 'b', 'basic')):\n"
        "    try: call()\n"
        "    except OpenOmniError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, *lines = done.stdout.splitlines()
    assert first == "0.5 0.5 0.5"
    assert [line.split()[2].rstrip(",") for line in lines] == [
        "evalica",
        "statsmodels",
        "scipy",
        "jiwer",
        "whisper_normalizer",
    ]
    mend = "run ./setup evaluation in OpenOmni's checkout, or pip install '.[evaluation]' there"
    assert all(line.endswith(mend) for line in lines)
