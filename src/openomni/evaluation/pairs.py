"""Which of two is better, asked again and again: how strong each is, and whether the side decides."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .checks import Floats, count, library, table


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
    strengths: Floats = found.scores.sort_index().to_numpy(dtype=np.float64)
    strengths /= strengths.sum()
    return strengths


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
