"""All entries of a table compared with each other: tie groups, and which entries may be the best.

Whoever is compared with the best entry is compared with one that was selected because it did well. Both answers take that into
account: they hold for all pairs of a table together, not for one pair chosen beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import takewhile

import numpy as np
from scipy.special import ndtr, ndtri

from vddbench.leaderboard.bootstrap import LEVEL, NORMAL, Drawn, Variance, half_interval, together


@dataclass(frozen=True)
class Comparisons:
    """The differences of all pairs of entries, best entry first."""

    difference: np.ndarray  # [n, n]: row minus column
    half: np.ndarray  # [n, n]: half of its 95 % interval; NaN if that is not known

    @cached_property
    def groups(self) -> list[int]:
        """For each entry, the number of the first entry of its tie group.

        An entry is in the group if neither it nor one above it in the group differs from the group's first. Equal entries are
        separated in at most 5 % of tables, however many there are (Tukey and Kramer).
        """
        factor = tukey(len(self.half))
        first: list[int] = []
        while len(first) < len(self.half):
            best = len(first)
            apart = self.difference[best, best + 1 :] > self.half[best, best + 1 :] * factor  # False for NaN
            first += [best] * (1 + sum(1 for _ in takewhile(lambda is_apart: not is_apart, apart)))
        return first

    @cached_property
    def may_be_best(self) -> np.ndarray:
        """[n] whether an entry is in the confidence set of the best: no other entry is significantly better.

        In at least 95 % of tables the entry that is truly best is in this set (multiple comparisons with the best, Bonferroni).
        """
        n = len(self.half)
        factor = float(ndtri(1 - LEVEL / max(1, n - 1))) / NORMAL
        better = self.difference > self.half * factor
        return np.asarray(~better.any(axis=0))


@cache
def tukey(n: int) -> float:
    """By how much 95 % intervals of differences widen so that all those of n entries hold together; 1 for n = 2.

    The 95 % quantile of the range of n normal numbers, divided by that for 2.
    """
    if n < 3:
        return 1.0
    z = np.linspace(-8, 8, 4001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    low, high = 0.0, 20.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        within = float((n * density * (ndtr(z) - ndtr(z - middle)) ** (n - 1)).sum())  # z: the largest of the numbers
        low, high = (middle, high) if within < 1 - LEVEL else (low, middle)
    return float(low / np.sqrt(2) / NORMAL)


def compared(drawn: Sequence[Drawn]) -> Comparisons:
    """Compares entries of one table on the same test videos."""
    if not drawn:
        return Comparisons(np.zeros((0, 0)), np.zeros((0, 0)))
    scores = np.array([one.score for one in drawn])
    influence = np.array([one.influence for one in drawn])
    products = influence @ influence.T
    own = np.diag(products) - [one.twice for one in drawn]
    video = np.maximum(0.0, own[:, None] + own - 2 * products)
    value, freedom = (np.array([one.seeds[i] for one in drawn], float) for i in (0, 1))
    seeds = together(Variance(value[:, None], freedom[:, None]), Variance(value, freedom))
    half = half_interval([Variance(video, drawn[0].videos.freedom), seeds])
    return Comparisons(scores[:, None] - scores, half)


def compared_draws(draws: Sequence[np.ndarray]) -> Comparisons:
    """Compares entries by bootstrap draws, [draws] of each."""
    if not draws:
        return Comparisons(np.zeros((0, 0)), np.zeros((0, 0)))
    stacked = np.stack(draws)
    mean = stacked.mean(axis=1)
    spread = np.array([(one - stacked).std(axis=1) for one in stacked])
    return Comparisons(mean[:, None] - mean, spread * NORMAL)
