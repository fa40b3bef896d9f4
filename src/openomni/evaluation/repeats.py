"""One task tried several times: how likely is it that one of k tries succeeds, and that all do."""

from __future__ import annotations

from math import comb

from .checks import count

MOST_TRIES = 100_000
"""More would take seconds to choose from."""


def pass_at_k(n: int, c: int, k: int) -> float:
    """The probability that at least one of `k` tries succeeds, estimated without bias from `n` tries.

    Args:
        n: How often it was tried. A try that broke off or could not be scored is one of them, and a failure.
        c: How often it succeeded, 0 to `n`.
        k: 1 to `n`.

    Returns:
        A share, 0 to 1.

    Raises:
        ValueError: a number is negative, no whole number, or larger than `n`.

    Source: Chen et al. 2021, Evaluating large language models trained on code, arXiv:2107.03374.
    """
    n, c, k = _checked(n, c, k)
    return (comb(n, k) - comb(n - c, k)) / comb(n, k)


def pass_hat_k(n: int, c: int, k: int) -> float:
    """pass^k: the probability that all of `k` tries succeed, estimated without bias from `n` tries.

    The (c/n)^k that one sees is biased: of 5 tries with 3 successes no 5 succeed, and it says 0.078.

    Args, Returns and Raises as of `pass_at_k`.

    Source: Yao et al. 2024, τ-bench, arXiv:2406.12045.
    """
    n, c, k = _checked(n, c, k)
    return comb(c, k) / comb(n, k)


def _checked(n: int, c: int, k: int) -> tuple[int, int, int]:
    n, c, k = count(n, "n", most=MOST_TRIES), count(c, "c"), count(k, "k", 1)
    if c > n:
        raise ValueError(f"c is {c} of n = {n}; no more can succeed than were tried")
    if k > n:
        raise ValueError(f"k is {k} of n = {n}; try {k} times, or ask for a k of {n} at most")
    return n, c, k
