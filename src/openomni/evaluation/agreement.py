"""How far raters agree, beyond what chance would give: for names, orders, intervals and ratios, and for scales."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Literal

import numpy as np

from . import checks
from .checks import Floats, library

Level = Literal["nominal", "ordinal", "interval", "ratio"]
LEVELS = ("nominal", "ordinal", "interval", "ratio")
FORMS = ("1,1", "2,1", "3,1", "1,k", "2,k", "3,k")
_OTHER_NAMES = {"A,1": "2,1", "C,1": "3,1", "A,k": "2,k", "C,k": "3,k"}
_BLOCK = 1 << 21
"""Numbers that a part of the resamples takes at once: 16 MB."""

Ratings = Iterable[Iterable[Any]]


def krippendorff_alpha(ratings: Ratings, level: Level = "nominal") -> float | None:
    """Krippendorff's alpha: 1 for agreement throughout, 0 for what chance gives, below 0 for less.

    Args:
        ratings: Raters in rows, units in columns, None where one gave none. Units with one rating change nothing.
        level: What the ratings are: names, an order, numbers whose distances count, or numbers with a true 0.

    Returns:
        alpha, at most 1; None where only one value was ever given, or no unit has two ratings: 0/0.

    Raises:
        ValueError: rows differ in length, a rating is NaN, or fits not the level.

    Source: Krippendorff 2011, Computing Krippendorff's alpha-reliability; evalica.
    """
    return _alpha(_scaled(ratings, level), level)


def observed(ratings: Ratings) -> float | None:
    """Raw agreement: how many of the pairs of ratings that a unit got are the same, averaged over units.

    Args, Raises: As of `krippendorff_alpha`, nominal.

    Returns:
        A share, 0 to 1; None where no unit has two ratings.
    """
    scaled = _scaled(ratings, "nominal")
    if scaled.shape[1] == 0:
        return None
    _, counts = _counted(scaled)
    per_unit = counts.sum(axis=1)
    return float(((counts * (counts - 1)).sum(axis=1) / (per_unit * (per_unit - 1))).mean())


def left_out(ratings: Ratings, level: Level = "nominal") -> list[float | None]:
    """alpha without each rater in turn, in the order of the rows: much higher without one says whom to ask.

    Args, Raises: As of `krippendorff_alpha`.

    Returns:
        alpha or None, for each rater.
    """
    rows = checks.ratings(ratings)
    return [krippendorff_alpha(rows[:at] + rows[at + 1 :], level) for at in range(len(rows))]


def _alpha(scaled: Floats, level: str) -> float | None:
    if scaled.shape[1] == 0:
        return None
    found = library("evalica").alpha(library("pandas").DataFrame(scaled), distance=level)
    return float(found.alpha) if found.expected > 0 else None


def alpha_interval(
    ratings: Ratings, level: Level = "nominal", resamples: int = 2000, seed: int = 0
) -> tuple[float | None, float | None]:
    """The 95 % interval of alpha, by bootstrap over units: what would other units have given.

    The bounds are those of BCa, which correct the percentiles for bias and skew, widened as t is wider than the normal
    distribution; the estimate lies between them.

    Args:
        ratings, level: As of `krippendorff_alpha`.
        resamples: How often the units are drawn, with replacement.
        seed: Of what is drawn.

    Returns:
        (low, high); (None, None) where alpha is None, or fewer than two units have two ratings.

    Raises:
        ValueError: as of `krippendorff_alpha`; `resamples` is below 1, or `seed` below 0.

    Source: Efron 1987 for BCa; Hesterberg 2015 for the widening; Zapf et al. 2016 for resampling units.
    """
    m, rng = checks.drawing(resamples, seed)
    scaled = _scaled(ratings, level)
    estimate = _alpha(scaled, level)
    units = scaled.shape[1]
    if estimate is None or units < 2:
        return None, None
    values, counts = _counted(scaled)
    drawn = np.empty(0)
    for start in range(0, m, most := max(1, _BLOCK // (units + len(values)))):
        weights = rng.multinomial(units, np.full(units, 1 / units), min(most, m - start)).astype(np.float64)
        drawn = np.append(drawn, _alphas(weights, values, counts, level))
    left_out = np.concatenate(
        [_alphas(1.0 - np.eye(units)[at : at + most], values, counts, level) for at in range(0, units, most)]
    )
    low, high = _bca(estimate, drawn[~np.isnan(drawn)], left_out[~np.isnan(left_out)], units)
    return min(low, estimate), max(high, estimate)


def _scaled(ratings: Ratings, level: str) -> Floats:
    """The ratings of units with two of them or more, as numbers."""
    checks.choice(level, "level", LEVELS)
    rows = checks.ratings(ratings)
    if level == "nominal":
        codes: dict[Hashable, int] = {}
        rows = [[None if each is None else codes.setdefault(each, len(codes)) for each in row] for row in rows]
    scaled = checks.scale(rows, ratio=level == "ratio")
    return scaled[:, (~np.isnan(scaled)).sum(axis=0) > 1]


def _counted(scaled: Floats) -> tuple[Floats, Floats]:
    """The values that were given, from the smallest, and how often each unit got each."""
    values, at = np.unique(scaled[~np.isnan(scaled)], return_inverse=True)
    unit = np.nonzero(~np.isnan(scaled))[1]
    counts = np.zeros((scaled.shape[1], len(values)))
    np.add.at(counts, (unit, at), 1.0)
    return values, counts


def _alphas(weights: Floats, values: Floats, counts: Floats, level: str) -> Floats:
    """alpha of each resample, NaN where it is undefined.

    Args:
        weights: Resamples × units: how often each was drawn.
        counts: Units × values.
    """
    given = weights @ counts
    n = given.sum(axis=1)
    per_unit = counts.sum(axis=1)
    if level in ("nominal", "ratio"):
        distance = 1.0 - np.eye(len(values))
        if level == "ratio":
            total = values[:, None] + values
            distance = ((values[:, None] - values) / np.where(total == 0, 1.0, total)) ** 2
        within = np.einsum("uc,uc->u", counts @ distance, counts) / (per_unit - 1)
        observed = weights @ within
        expected = np.einsum("rc,rc->r", given @ distance, given)
    else:
        # An order's distances are those of the middle ranks, which are other ones in each resample.
        placed = np.cumsum(given, axis=1) - given / 2 if level == "ordinal" else np.broadcast_to(values, given.shape)
        placed = placed - (given * placed).sum(axis=1, keepdims=True) / np.maximum(n, 1)[:, None]
        squares, sums = placed**2 @ counts.T, placed @ counts.T
        observed = (weights * 2 * (per_unit * squares - sums**2) / (per_unit - 1)).sum(axis=1)
        expected = 2 * n * (given * placed**2).sum(axis=1)
    alphas = np.full(len(weights), np.nan)
    varied = (given > 0).sum(axis=1) > 1
    alphas[varied] = 1.0 - (n[varied] - 1) * observed[varied] / expected[varied]
    return alphas


def _bca(estimate: float, drawn: Floats, left_out: Floats, units: int) -> tuple[float, float]:
    """The bias-corrected and accelerated bounds; the estimate alone where nothing varies."""
    if len(drawn) == 0 or np.ptp(drawn) == 0:
        return estimate, estimate
    normal = library("scipy.stats").norm
    # What is drawn as the estimate itself, to rounding, counts half.
    near = np.abs(drawn - estimate) <= 1e-9
    below = (np.mean((drawn < estimate) & ~near) + np.mean(near) / 2).clip(0.5 / len(drawn), 1 - 0.5 / len(drawn))
    bias = normal.ppf(below)
    away = left_out.mean() - left_out if len(left_out) else np.zeros(1)
    spread = float((away**2).sum())
    acceleration = float((away**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    # As wide as t is, and as sd (n − 1) is wider than sd (n).
    reach = float(library("scipy.special").stdtrit(units - 1, 0.975)) * (units / (units - 1)) ** 0.5
    z = bias + np.array([-reach, reach])
    low, high = np.quantile(drawn, normal.cdf(bias + z / np.maximum(1 - acceleration * z, 1e-3)))
    return float(low), float(high)


def cohen_kappa(
    table: Iterable[Iterable[float]], weights: Literal["linear", "quadratic"] | None = None
) -> float | None:
    """Cohen's kappa of two raters.

    Args:
        table: Square: how often the first rater gave the category of the row and the second that of the column.
        weights: None where categories are the same or not; else how much more a disagreement counts that is wider,
            for categories in their order.

    Returns:
        kappa; None where both gave one and the same category throughout, or nothing.

    Raises:
        ValueError: the table is not square, or a count is negative or no whole number.

    Source: Cohen 1960, 1968; statsmodels.
    """
    if weights is not None:
        checks.choice(weights, "weighting", ("linear", "quadratic"))
    counts = checks.table(table, "table", square=True)
    if (
        counts.size == 0
        or np.outer(counts.sum(axis=1), counts.sum(axis=0))[~np.eye(len(counts), dtype=bool)].sum() == 0
    ):
        return None
    return float(library("statsmodels.stats.inter_rater").cohens_kappa(counts, wt=weights, return_results=False))


def fleiss_kappa(counts: Iterable[Iterable[float]]) -> float | None:
    """Fleiss' kappa of equally many raters of each unit, who need not be the same.

    Args:
        counts: Units in rows, categories in columns: how many raters gave the unit the category.

    Returns:
        kappa; None where only one category was ever given, or a unit has fewer than two ratings.

    Raises:
        ValueError: units have differently many ratings, or a count is negative or no whole number.

    Source: Fleiss 1971; statsmodels.
    """
    table = checks.table(counts, "counts")
    raters = table.sum(axis=1)
    for unit, each in enumerate(raters):
        if each != raters[0]:
            raise ValueError(
                f"unit {unit} has {each:g} ratings, unit 0 {raters[0]:g}; use krippendorff_alpha where some are missing"
            )
    if table.size == 0 or raters[0] < 2 or np.count_nonzero(table.sum(axis=0)) < 2:
        return None
    return float(library("statsmodels.stats.inter_rater").fleiss_kappa(table))


def gwet_ac1(ratings: Ratings) -> float | None:
    """Gwet's AC1 of names: agreement beyond chance that stays sensible where one answer prevails.

    Args:
        ratings: Raters in rows, units in columns, None where one gave none. A unit with one rating counts for how
            frequent a category is.

    Returns:
        AC1, at most 1; None where only one value was ever given, or no unit has two ratings.

    Raises:
        ValueError: rows differ in length, or a rating is NaN.

    Source: Gwet 2008, Computing inter-rater reliability in the presence of high agreement.
    """
    codes: dict[Hashable, int] = {}
    coded = [
        [-1 if each is None else codes.setdefault(each, len(codes)) for each in row] for row in checks.ratings(ratings)
    ]
    if len(codes) < 2:
        return None
    counts = (np.array(coded)[:, :, None] == np.arange(len(codes))).sum(axis=0)
    per_unit = counts.sum(axis=1)
    several = per_unit > 1
    if not several.any():
        return None
    pairs = (counts * (counts - 1)).sum(axis=1)[several] / (per_unit * (per_unit - 1))[several]
    frequent = (counts[per_unit > 0] / per_unit[per_unit > 0, None]).mean(axis=0)
    by_chance = float((frequent * (1 - frequent)).sum()) / (len(codes) - 1)
    return (float(pairs.mean()) - by_chance) / (1 - by_chance)


def icc(ratings: Ratings, form: str = "2,1") -> float | None:
    """The intraclass correlation of raters on a scale, in the forms of Shrout and Fleiss.

    "2,1", also called ICC(A,1), asks whether they give the same; "3,1", ICC(C,1), whether they give the same but for
    how strict each is; "1,1" where each unit has raters of its own. "…,k" is that of the mean over the raters.

    Args:
        ratings: Raters in rows, units in columns. A unit that somebody left out (None) is left out.
        form: "1,1", "2,1", "3,1", "1,k", "2,k" or "3,k"; "A,1", "C,1", "A,k" and "C,k" are those of 2 and 3.

    Returns:
        The ICC, at most 1; None for fewer than two raters, fewer than two units that all of them rated, or where it is
        a division by 0: nothing varies.

    Raises:
        ValueError: rows differ in length, a rating is no finite number, or nobody knows the form.

    Source: Shrout & Fleiss 1979, Intraclass correlations; McGraw & Wong 1996.
    """
    checks.choice(form, "form", (*FORMS, *_OTHER_NAMES))
    form = _OTHER_NAMES.get(form, form)
    scaled = checks.scale(checks.ratings(ratings))
    scaled = scaled[:, ~np.isnan(scaled).any(axis=0)]
    k, n = scaled.shape
    if k < 2 or n < 2 or np.ptp(scaled) == 0:
        return None
    scaled = (scaled - scaled.mean()) / np.abs(scaled - scaled.mean()).max()
    between, raters, all_of_it = (
        k * (scaled.mean(axis=0) ** 2).sum(),
        n * (scaled.mean(axis=1) ** 2).sum(),
        (scaled**2).sum(),
    )
    rest = scaled - scaled.mean(axis=0) - scaled.mean(axis=1, keepdims=True)
    b, j, e = between / (n - 1), raters / (k - 1), (rest**2).sum() / ((n - 1) * (k - 1))
    w = (all_of_it - between) / (n * (k - 1))
    above, below = {
        "1,1": (b - w, b + (k - 1) * w),
        "2,1": (b - e, b + (k - 1) * e + k * (j - e) / n),
        "3,1": (b - e, b + (k - 1) * e),
        "1,k": (b - w, b),
        "2,k": (b - e, b + (j - e) / n),
        "3,k": (b - e, b),
    }[form]
    # What is 0 but for rounding is 0.
    return float(above / below) if abs(below) > 1e-12 else None
