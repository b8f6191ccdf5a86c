"""Uncertainty of scores and differences: other test videos of the same classes (videos.py), and other seeds.

All entries of a dataset share the draws of its videos. A video that is hard for every method therefore cancels in differences.
An entry's distillations vary independently of the other entries; for an entry with a single distillation, its students do, and
the result is about this one set. What is particular to one student on one video is in both parts, so it is subtracted once (see
`residual`).

Few seeds, or few or unequal groups, give a poor estimate of their own spread. Each part has its own quantile of Student's t,
and an interval uses their mean, weighted by variance (Cochran and Cox). One t with the degrees of freedom of Welch and
Satterthwaite fails for two distillations: when these happen to be alike, it underestimates their spread and takes its degrees
of freedom from the videos at the same time.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit  # quantile of Student's t

from vddbench.leaderboard.videos import Videos

Hits = list[np.ndarray]  # for each distillation [students, videos] bool: is the answer right?
LEVEL = 0.05  # of intervals and tests
NORMAL = 1.959963984540054  # 97.5 % quantile


class Variance(NamedTuple):
    """An estimated variance, and the degrees of freedom of the estimate (0: it shows no spread). Numbers or arrays."""

    value: np.ndarray | float
    freedom: np.ndarray | float


def together(first: Variance, second: Variance) -> Variance:
    """The variance of a difference of independent means of seeds (Welch and Satterthwaite)."""
    value = np.asarray(first.value + second.value)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.asarray(first.value) ** 2 / first.freedom + np.asarray(second.value) ** 2 / second.freedom
        freedom = np.where(value > 0, value**2 / spread, np.minimum(first.freedom, second.freedom))
    return Variance(value, np.where(np.minimum(first.freedom, second.freedom) > 0, freedom, 0.0))


def half_interval(parts: Sequence[Variance], level: float = LEVEL) -> np.ndarray:
    """Half of the interval of a sum of independent deviations. NaN if a part has no degrees of freedom."""
    with np.errstate(divide="ignore", invalid="ignore"):
        total = sum(np.asarray(part.value, float) for part in parts)
        widths = [np.where(np.asarray(part.freedom) > 0, stdtrit(part.freedom, 1 - level / 2), np.nan) for part in parts]
        weighted = sum(width * part.value for width, part in zip(widths, parts, strict=True))
        return np.asarray(np.where(total > 0, weighted / np.sqrt(total), weighted))


@dataclass(frozen=True)
class Drawn:
    """An entry's score, which is the mean over distillations of means over students, and its variation."""

    score: float
    influence: np.ndarray  # [clusters] of the test videos, see `Videos.influence`
    seeds: Variance  # over distillations or students, on the same videos
    twice: float  # variance that test videos and seeds both contain, see `residual`
    videos: Videos
    key: int  # seeds the entry's own random numbers

    @cached_property
    def video(self) -> Variance:
        """Over test videos, without what `seeds` contains as well."""
        return Variance(max(0.0, float((self.influence**2).sum()) - self.twice), self.videos.freedom)

    @cached_property
    def half(self) -> float:
        """Half of the 95 % interval. NaN for a single seed or a single cluster of videos."""
        return float(half_interval([self.video, self.seeds]))

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95 %. All wrong or all right on n clusters shows no spread; then n fair trials do (Clopper and Pearson)."""
        if np.isnan(self.half):
            return np.nan, np.nan
        half = unseen(self.videos) if self.score in {0.0, 1.0} else self.half
        return max(0.0, self.score - half), min(1.0, self.score + half)

    @cached_property
    def scores(self) -> np.ndarray:
        """[draws] of the score; 95 % of them are in its interval. An entry without an interval varies with the videos only."""
        common = self._moved * self.widening
        rest = 0.0 if np.isnan(self.half) else max(0.0, (self.half / NORMAL) ** 2 - float(common.var()))
        return np.asarray(self.score + common + self._own * np.sqrt(rest))

    @property
    def unwidened(self) -> np.ndarray:
        """[draws] of the score that vary as estimated, not widened by quantiles of Student's t.

        For means over draws: widened draws exaggerate what is gained by selecting the best of several entries.
        """
        return np.asarray(self.score + self._moved + self._own * np.sqrt(max(0.0, float(self.seeds.value) - self.twice)))

    @cached_property
    def _moved(self) -> np.ndarray:
        """[draws] how far the test videos move the score. Entries of a dataset share their random numbers."""
        return np.asarray(self.videos.draws @ self.influence.astype(np.float32))

    @property
    def _own(self) -> np.ndarray:
        """[draws] the entry's own standard normal numbers."""
        return np.random.default_rng(self.key).standard_normal(len(self.videos.draws), np.float32)

    @property
    def widening(self) -> float:
        """Quantile of Student's t for the test videos, divided by the normal one. All entries of a dataset have the same."""
        return float(stdtrit(self.videos.freedom, 1 - LEVEL / 2)) / NORMAL if self.videos.freedom > 0 else 1.0


def unseen(videos: Videos) -> float:
    """Half of an interval if nothing varies on any cluster of videos."""
    return float(1 - (LEVEL / 2) ** (1 / videos.clusters))


def draw(hits: Hits, videos: Videos, key: str) -> Drawn:
    """An entry's score and its variation. key: its name, which seeds its own random numbers."""
    means = np.array([of_set.mean(0) for of_set in hits])  # [distillations, V]
    units = means if len(hits) > 1 else hits[0].astype(float)
    influence = videos.influence(units.mean(0)[None])[0]
    of_seeds = seed_variance(hits, units, videos)
    seeds = Variance(of_seeds.value, of_seeds.freedom)
    return Drawn(float(units.mean()), influence, seeds, of_seeds.twice, videos, zlib.crc32(key.encode()))


class SeedVariance(NamedTuple):
    """Variance of a score over seeds."""

    value: float
    twice: float  # the part of `value` that resampling videos contains as well
    freedom: float


def seed_variance(hits: Hits, units: np.ndarray, videos: Videos) -> SeedVariance:
    """Variance over distillations, but never below the variance over their students, which rests on more seeds.

    For a single distillation: the variance over its students.
    """
    parts = [of_mean(of_set.astype(float), videos) for of_set in hits]
    value, twice = (sum(part[i] for part in parts) / len(hits) ** 2 for i in (0, 1))
    students = SeedVariance(value, twice, float(sum(len(of_set) - 1 for of_set in hits)))
    if len(hits) == 1:
        return students
    distillations = SeedVariance(*of_mean(units, videos), len(hits) - 1.0)
    return distillations if distillations.value > students.value else students


def of_mean(units: np.ndarray, videos: Videos) -> tuple[float, float]:
    """(variance of the mean of units [n, V], the part that resampling videos contains as well). Both are 0 for one unit."""
    n = len(units)
    if n < 2:
        return 0.0, 0.0
    variance = float(units.mean(1).var(ddof=1)) / n
    return variance, min(variance, residual(units, videos))


def residual(units: np.ndarray, videos: Videos) -> float:
    """Variance of the mean of units [n, V] that is particular to one unit on one video (or cluster of videos).

    A unit is a distillation or a student. Resampling videos contains this variance, and resampling units contains it again.
    """
    n = len(units)
    return float((videos.influence(units - units.mean(0)) ** 2).sum() / (n * (n - 1)))


@dataclass(frozen=True)
class ScoreDifference:
    """A difference of two scores with its 95 % interval."""

    difference: float
    low: float
    high: float


def score_difference(first: Drawn, second: Drawn) -> ScoreDifference:
    """`first` minus `second`, on the same test videos. The interval is NaN for a single seed or a single cluster of videos.

    Two entries that are each all wrong or all right show no spread; then n fair trials do, as for `Drawn.interval`.
    """
    difference = first.score - second.score
    both = float(((first.influence - second.influence) ** 2).sum()) - first.twice - second.twice
    video = Variance(max(0.0, both), first.videos.freedom)
    half = float(half_interval([video, together(first.seeds, second.seeds)]))
    if np.isnan(half):
        return ScoreDifference(difference, np.nan, np.nan)
    half = unseen(first.videos) if {first.score, second.score} <= {0.0, 1.0} else half
    return ScoreDifference(difference, max(-1.0, difference - half), min(1.0, difference + half))


def half_width(scores: np.ndarray) -> float:
    """Half of the 95 % Student-t interval of the mean of n values; NaN for one value."""
    n = len(scores)
    return float(stdtrit(n - 1, 0.975) * scores.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
