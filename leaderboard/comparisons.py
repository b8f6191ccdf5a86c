"""All entries of a table compared with each other: tie groups, and which entries may be the best.

Whoever is compared with the best entry is compared with one that was selected because it did well. Both answers take that into
account: they hold for all pairs of a table together, not for one pair chosen beforehand. At such levels, Student's t has the
degrees of freedom of the whole variance (Welch and Satterthwaite): quantiles of its parts would separate nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import takewhile

import numpy as np
from scipy.special import ndtr, ndtri

from vddbench.leaderboard.bootstrap import LEVEL, Drawn, Variance, half_interval, together


@dataclass(frozen=True)
class Comparisons:
    """The differences of all pairs of entries, best entry first."""

    difference: np.ndarray  # [n, n]: row minus column
    of_pairs: np.ndarray  # [n, n]: half of the intervals that hold for all pairs together; NaN if that is not known
    of_best: np.ndarray  # [n, n]: half of the intervals of one entry's differences from all others

    @cached_property
    def groups(self) -> list[int]:
        """For each entry, the number of the first entry of its tie group.

        An entry is in the group if neither it nor one above it in the group differs from the group's first. Equal entries are
        separated in at most 5 % of tables, however many there are (Tukey and Kramer).
        """
        first: list[int] = []
        while len(first) < len(self.difference):
            best = len(first)
            apart = self.difference[best, best + 1 :] > self.of_pairs[best, best + 1 :]  # False for NaN
            first += [best] * (1 + sum(1 for _ in takewhile(lambda is_apart: not is_apart, apart)))
        return first

    @cached_property
    def may_be_best(self) -> np.ndarray:
        """[n] whether an entry is in the confidence set of the best: no other entry is significantly better.

        In at least 95 % of tables the entry that is truly best is in this set (multiple comparisons with the best, Bonferroni).
        """
        return np.asarray(~(self.difference > self.of_best).any(axis=0))


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
    """Compares entries of one table on the same test videos."""
    if not drawn:
        return Comparisons(*[np.zeros((0, 0))] * 3)
    scores = np.array([one.score for one in drawn])
    influence = np.array([one.influence for one in drawn])
    products = influence @ influence.T
    own = np.diag(products) - [one.twice for one in drawn]
    row, column = np.triu_indices(
        len(drawn)
    )  # each pair once: the quantiles of Student's t take most of the time of a long table
    video = np.maximum(0.0, own[row] + own[column] - 2 * products[row, column])
    value, freedom = (np.array([one.seeds[i] for one in drawn], float) for i in (0, 1))
    seeds = together(Variance(value[row], freedom[row]), Variance(value[column], freedom[column]))
    whole = [together(Variance(video, drawn[0].videos.freedom), seeds)]
    halves = [np.zeros_like(products) for _ in range(2)]
    for half, level in zip(halves, (tukey(len(drawn)), bonferroni(len(drawn))), strict=True):
        half[row, column] = half[column, row] = half_interval(whole, level)
    return Comparisons(scores[:, None] - scores, *halves)


def bonferroni(n: int) -> float:
    """The level of two-sided intervals, so that no other entry is wrongly called better than one of n with 95 %."""
    return 2 * LEVEL / max(2, n - 1)


def compared_draws(draws: Sequence[np.ndarray]) -> Comparisons:
    """Compares entries by bootstrap draws, [draws] of each."""
    if not draws:
        return Comparisons(*[np.zeros((0, 0))] * 3)
    stacked = np.stack(draws)
    mean = stacked.mean(axis=1)
    spread = np.array([(one - stacked).std(axis=1) for one in stacked])
    halves = [spread * ndtri(1 - level / 2) for level in (tukey(len(draws)), bonferroni(len(draws)))]
    return Comparisons(mean[:, None] - mean, *halves)
