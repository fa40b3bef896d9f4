"""Which of two is better, asked again and again: how strong each is, and whether the side decides."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from .checks import Floats, count, drawing, library, listed, places, table

Estimate = tuple[float | None, float | None, float | None]


def bradley_terry(wins: Iterable[Iterable[float]]) -> list[float] | None:
    """How strong each is, so that i beats j with probability s_i ÷ (s_i + s_j): the maximum of the likelihood.

    Whoever was never beaten by those below is infinitely stronger than they are: these get 0.

    Args:
        wins: A square table: how often the one of the row beat the one of the column; a tie is half a win for both.

    Returns:
        Strengths that sum to 1, in the order of the rows. None where they can't be compared: nobody leads from whom,
        through those who were beaten, all others can be reached.

    Raises:
        ValueError: the table is not square, a number is negative or none, or somebody won against themselves.

    Source: Bradley & Terry 1952; Hunter 2004 for when the maximum is there; evalica.
    """
    won = table(wins, "wins", whole=False, square=True)
    if np.diagonal(won).any():
        raise ValueError("somebody won against themselves; the table's diagonal is 0")
    if len(won) == 0:
        return None
    leads = _leaders(won > 0)
    if leads is None:
        return None
    strengths = np.zeros(len(won))
    strengths[leads] = _maximum(won[np.ix_(leads, leads)])
    return [float(each) for each in strengths]


def _leaders(beat: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> np.ndarray[tuple[int], np.dtype[np.intp]] | None:
    """Those who have beaten one another in a ring and from whom all others are reached; None where there are none."""
    reach = beat | np.eye(len(beat), dtype=bool)
    for _ in range(len(beat).bit_length()):
        reach = (reach.astype(np.float32) @ reach.astype(np.float32)) > 0
    leads = np.flatnonzero(reach.all(axis=1))
    return leads if len(leads) else None


def _maximum(won: Floats) -> Floats:
    if len(won) == 1:
        return np.ones(1)
    evalica = library("evalica")
    better, worse = np.nonzero(won)
    found = evalica.bradley_terry(
        [int(each) for each in better],
        [int(each) for each in worse],
        [evalica.Winner.X] * len(better),
        index=library("pandas").Index(range(len(won))),
        weights=[float(each) for each in won[better, worse]],
        tolerance=1e-12,
        limit=100_000,
    )
    strengths = np.array(found.scores.sort_index(), dtype=np.float64)
    strengths /= strengths.sum()
    return strengths


def intervals(
    votes: Iterable[tuple[Hashable, Hashable, Hashable, Hashable, float]], resamples: int = 1000, seed: int = 0
) -> dict[Hashable, Estimate]:
    """How strong each is, and its interval by percentiles where both raters and items are drawn again.

    Args:
        votes: (rater, item, one, other, won): who was asked of which item to compare whom, and what the one got:
            1, 0, or 0.5 for a tie.
        resamples: How often to draw.
        seed: Of what is drawn.

    Returns:
        Of each (strength, low, high), by name in the order in which they come. low and high are None for fewer than two
        raters or items, or where one draw in twenty compares not everybody; all are None where nobody can be compared.

    Raises:
        ValueError: a vote is none, `resamples` is below 1, or `seed` below 0.

    Source: Owen 2007, The pigeonhole bootstrap.
    """
    m, rng = drawing(resamples, seed)
    rows = [_vote(each, at) for at, each in enumerate(listed(votes, "votes"))]
    names: dict[Hashable, int] = {}
    for _, _, one, other, _ in rows:
        names.setdefault(one, len(names))
        names.setdefault(other, len(names))
    if not rows:
        return {}
    rater, item = (places((row[at] for row in rows), len(rows)) for at in (0, 1))
    first, second = np.array([names[row[2]] for row in rows]), np.array([names[row[3]] for row in rows])
    won = np.array([row[4] for row in rows])

    def strengths(weights: Floats) -> list[float] | None:
        wins = np.zeros((len(names), len(names)))
        np.add.at(wins, (first, second), weights * won)
        np.add.at(wins, (second, first), weights * (1 - won))
        return bradley_terry(wins)

    found = strengths(np.ones(len(rows)))
    if found is None:
        return dict.fromkeys(names, (None, None, None))
    raters, items = int(rater.max()) + 1, int(item.max()) + 1
    drawn = []
    for _ in range(m if min(raters, items) > 1 else 0):
        by_rater = rng.multinomial(raters, np.full(raters, 1 / raters))
        by_item = rng.multinomial(items, np.full(items, 1 / items))
        drawn.append(strengths((by_rater[rater] * by_item[item]).astype(np.float64)))
    known = [each for each in drawn if each is not None]
    if len(known) < 0.95 * m:
        return {name: (found[at], None, None) for name, at in names.items()}
    low, high = np.quantile(known, [0.025, 0.975], axis=0)
    return {
        name: (found[at], min(float(low[at]), found[at]), max(float(high[at]), found[at])) for name, at in names.items()
    }


def _vote(vote: Any, at: int) -> tuple[Hashable, Hashable, Hashable, Hashable, float]:
    if not isinstance(vote, (tuple, list)) or len(vote) != 5:
        raise ValueError(f"votes[{at}] is no vote; give (rater, item, one, other, won)")
    rater, item, one, other, won = vote
    if any(not isinstance(each, Hashable) or each is None for each in (rater, item, one, other)) or one == other:
        raise ValueError(f"votes[{at}] has to name a rater, an item and two who are compared")
    if isinstance(won, str) or won not in (0, 0.5, 1):
        raise ValueError(f"votes[{at}] was won by {won!r}; give 1, 0, or 0.5 for a tie")
    return rater, item, one, other, float(won)


def left_bias(left: int, n: int) -> float | None:
    """The exact two-sided p that the left one is chosen as often as the right one.

    Args:
        left: How often the left one was chosen.
        n: How often one of the two was; ties are left out.

    Returns:
        p, at most 1; None where nobody chose.

    Raises:
        ValueError: a number is negative or no whole number, or `left` is more than `n`.

    Source: the binomial test; scipy.
    """
    left, n = count(left, "left"), count(n, "n")
    if left > n:
        raise ValueError(f"left is {left} of n = {n}; no more can be chosen than were asked for")
    return min(1.0, float(library("scipy.stats").binomtest(left, n).pvalue)) if n else None
