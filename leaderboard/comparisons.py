"""All entries of a table compared with each other: tie groups, and which entries may be the best.

Whoever is compared with the best entry is compared with one that was selected because it did well. Both answers take that into
account: they hold for all pairs of a table together, not for one pair chosen beforehand. At such levels, Student's t has the
degrees of freedom of the whole variance (Welch and Satterthwaite): quantiles of its parts would separate nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtr, ndtri

from vddbench.leaderboard.bootstrap import LEVEL, Drawn, Variance, half_interval, together

Better = Callable[[int, np.ndarray, float], np.ndarray]
"""(an entry, numbers of other entries, a level) -> whether the entry is significantly better than each of the others."""


@dataclass(frozen=True)
class Comparisons:
    """What follows from the differences of all pairs of entries, best entry first."""

    groups: list[int]  # for each entry, the number of the first entry of its tie group
    may_be_best: np.ndarray  # [n] whether an entry is in the confidence set of the best


def comparisons(scores: np.ndarray, better: Better) -> Comparisons:
    """Compares n entries, best first. Asks only for differences that can decide something: a long table has millions.

    scores: [n]. No entry is better than one whose score is as high.
    """
    return Comparisons(tie_groups(len(scores), better), confidence_set(scores, better))


def tie_groups(n: int, better: Better) -> list[int]:
    """For each entry, the number of the first entry of its tie group.

    An entry is in the group if neither it nor one above it in the group differs from the group's first. Equal entries should be
    separated in 5 % of tables, however many there are (Tukey and Kramer); with few seeds they are in more (docs/ranking.md).
    """
    first: list[int] = []
    while len(first) < n:
        best = len(first)
        apart = better(best, np.arange(best + 1, n), tukey(n))
        first += [best] * (1 + (int(apart.argmax()) if apart.any() else len(apart)))
    return first


def confidence_set(scores: np.ndarray, better: Better) -> np.ndarray:
    """[n] whether an entry is in the confidence set of the best: no other entry is significantly better.

    In 95 % of tables the entry that is truly best should be in this set (multiple comparisons with the best, Bonferroni);
    docs/ranking.md has the simulated share.
    """
    may_be_best = np.ones(len(scores), bool)
    for entry, score in enumerate(scores):
        others = np.flatnonzero(may_be_best & (scores < score))
        if len(others):
            may_be_best[others] = ~better(entry, others, bonferroni(len(scores)))
    return may_be_best


@cache
def tukey(n: int) -> float:
    """The level of each comparison of two of n entries, so that all hold together with 95 %; LEVEL for n = 2.

    From the 95 % quantile of the range of n normal numbers.
    """
    if n < 3:
        return LEVEL
    z = np.linspace(-8, 8, 4001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    low, high = 0.0, 20.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        within = float((n * density * (ndtr(z) - ndtr(z - middle)) ** (n - 1)).sum())  # z: the largest of the numbers
        low, high = (middle, high) if within < 1 - LEVEL else (low, middle)
    return float(2 * ndtr(-low / np.sqrt(2)))


def compared(drawn: Sequence[Drawn]) -> Comparisons:
    """Compares entries of one table on the same test videos, best first."""
    scores = np.array([one.score for one in drawn])
    if not drawn:
        return Comparisons([], scores.astype(bool))
    influence = np.array([one.influence for one in drawn])
    products = influence @ influence.T
    own = np.diag(products) - [one.twice for one in drawn]
    value, freedom = (np.array([one.seeds[i] for one in drawn], float) for i in (0, 1))

    def better(entry: int, others: np.ndarray, level: float) -> np.ndarray:
        video = np.maximum(0.0, own[entry] + own[others] - 2 * products[entry, others])
        seeds = together(Variance(value[entry], freedom[entry]), Variance(value[others], freedom[others]))
        whole = together(Variance(video, drawn[0].videos.freedom), seeds)
        return np.asarray(scores[entry] - scores[others] > half_interval([whole], level))  # False for NaN

    return comparisons(scores, better)


def bonferroni(n: int) -> float:
    """The level of two-sided intervals, so that no other entry is wrongly called better than one of n with 95 %."""
    return 2 * LEVEL / max(2, n - 1)


def compared_draws(draws: Sequence[np.ndarray]) -> Comparisons:
    """Compares entries by bootstrap draws, [draws] of each, best first."""
    if not draws:
        return Comparisons([], np.zeros(0, bool))
    stacked = np.stack(draws)
    mean = stacked.mean(axis=1)

    def better(entry: int, others: np.ndarray, level: float) -> np.ndarray:
        spread = (stacked[entry] - stacked[others]).std(axis=1)
        return np.asarray(mean[entry] - mean[others] > spread * ndtri(1 - level / 2))

    return comparisons(mean, better)
