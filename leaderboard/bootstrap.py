"""Uncertainty of scores, differences and ranks: a crossed bootstrap over test videos and over seeds.

All entries of a dataset share the same resampled test videos (whole groups, if videos belong to groups). A video that is hard
for every method therefore cancels in differences. Each entry's distillations are resampled independently of the other entries;
an entry with a single distillation has its students resampled. Variance that is particular to one student on one video appears
in both resamplings, so it is subtracted once (see `residual`). Resampling n items gives deviations that are too small by
sqrt((n - 1) / n); this is corrected. A few seeds give a poor estimate of their own spread, so intervals use Student's t with
the degrees of freedom of Welch and Satterthwaite.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit  # Student's t: the distribution and its inverse

DRAWS = 2000
Hits = list[np.ndarray]  # for each distillation [students, videos] bool: is the answer right?
NORMAL = 1.959963984540054  # 97.5 % quantile


@dataclass(frozen=True)
class Videos:
    """The test videos of a dataset, and bootstrap draws of them."""

    weights: np.ndarray  # [draws, V], rows sum to 1: the share of each video in a draw
    cluster: np.ndarray  # [V] number of the group that is resampled as a whole

    @property
    def clusters(self) -> int:
        return int(self.cluster.max()) + 1


@dataclass(frozen=True)
class Drawn:
    """The bootstrap draws of an entry's score, which is the mean over distillations of means over students."""

    score: float
    video: np.ndarray  # [draws] deviations of the score over other test videos
    seed: np.ndarray  # [draws] deviations over other distillations or students, on the same videos
    freedom: float  # degrees of freedom of `seed`; 0 for a single seed, which shows no spread
    twice: float  # variance that both `video` and `seed` contain, see `residual`
    clusters: int  # number of groups of test videos that are resampled as a whole

    def scores(self) -> np.ndarray:
        """[draws] of the score. Their spread is wider if there are few seeds or few videos."""
        seed_variance = float(np.var(self.seed))
        video_variance = max(0.0, float(np.var(self.video)) - self.twice)
        freedom = freedom_of([Variance(video_variance, self.clusters - 1.0), Variance(seed_variance, self.freedom)])
        once = np.sqrt(1 - self.twice / seed_variance) if seed_variance > self.twice else 0.0
        return np.asarray(self.score + (self.video + self.seed * once) * widening(freedom))


class Variance(NamedTuple):
    """An estimated variance, and the degrees of freedom of the estimate."""

    value: float
    freedom: float


@dataclass(frozen=True)
class ScoreDifference:
    """A difference of two scores with its 95 % interval. `p`: probability of one at least this large between equal entries."""

    difference: float
    low: float
    high: float
    p: float


def drawn_videos(groups: np.ndarray, dataset: str, draws: int = DRAWS) -> Videos:
    """Draws of a dataset's test videos, the same in all its tables. groups: [V] str, "" if a video belongs to no group."""
    rng = np.random.default_rng(zlib.crc32(dataset.encode()))
    clusters = [f"group {group}" if group else f"video {i}" for i, group in enumerate(groups)]
    names, cluster = np.unique(clusters, return_inverse=True)
    n = len(names)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=draws)[:, cluster].astype(np.float32)
    weights /= weights.sum(1, keepdims=True)
    mean = 1 / len(groups)
    return Videos(np.asarray(mean + (weights - mean) * full_size(n), np.float32), cluster)


def full_size(n: int) -> float:
    """Factor from the deviations of n resampled items to those of n new items; 0 for n = 1, which shows no spread."""
    return float(np.sqrt(n / (n - 1))) if n > 1 else 0.0


def draw(hits: Hits, videos: Videos, key: str) -> Drawn:
    """The bootstrap draws of an entry. key: its name, which seeds its own random numbers."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    means = np.array([of_set.mean(0) for of_set in hits], np.float32)  # [distillations, V]
    units = means if len(hits) > 1 else hits[0].astype(np.float32)
    score = float(units.mean())
    video = videos.weights @ units.mean(0) - score
    n = len(units)
    picked = units.mean(1)[rng.integers(n, size=(len(video), n))].mean(1)
    of_seeds = seed_variance(hits, units, videos)
    return Drawn(score, video, scaled(picked - score, of_seeds.value), of_seeds.freedom, of_seeds.twice, videos.clusters)


class SeedVariance(NamedTuple):
    """Variance of a score over seeds."""

    value: float
    twice: float  # the part of `value` that resampling videos contains as well
    freedom: float


def seed_variance(hits: Hits, units: np.ndarray, videos: Videos) -> SeedVariance:
    """Variance over distillations, but never below the variance over their students, which rests on more seeds.

    For a single distillation: the variance over its students.
    """
    parts = [of_mean(of_set.astype(np.float32), videos) for of_set in hits]
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
    """Variance of the mean of units [n, V] that is particular to one unit on one video (or group of videos).

    A unit is a distillation or a student. Resampling videos contains this variance, and resampling units contains it again.
    """
    n, num_videos = units.shape
    own = units - units.mean(0) - (units.mean(1) - units.mean())[:, None]
    of_clusters = np.zeros((n, videos.clusters), np.float32)
    np.add.at(of_clusters.T, videos.cluster, own.T)
    return float((of_clusters**2).sum() / (num_videos**2 * n * (n - 1)) * full_size(videos.clusters) ** 2)


def scaled(deviations: np.ndarray, variance: float) -> np.ndarray:
    """The deviations, scaled to this variance."""
    spread = float(deviations.std())
    return np.asarray(deviations * (np.sqrt(variance) / spread if spread > 0 else 0.0))


def freedom_of(parts: Sequence[Variance]) -> float:
    """Degrees of freedom of a sum of variances (Welch, Satterthwaite); 0 if one of the variances has none."""
    if any(part.freedom <= 0 for part in parts):
        return 0.0
    spread = sum(part.value**2 / part.freedom for part in parts)
    return float(sum(part.value for part in parts) ** 2 / spread) if spread else min(part.freedom for part in parts)


def widening(freedom: float) -> float:
    """The quantile of Student's t divided by that of the normal distribution; infinite without degrees of freedom."""
    return float(stdtrit(freedom, 0.975)) / NORMAL if freedom > 0 else float("inf")


def score_difference(first: Drawn, second: Drawn) -> ScoreDifference:
    """`first` minus `second`, on the same test videos. Interval and p are NaN for a single seed or a single group of videos."""
    difference = first.score - second.score
    video = max(0.0, float(np.var(first.video - second.video)) - first.twice - second.twice)
    parts = [Variance(video, first.clusters - 1.0)]
    parts += [Variance(float(np.var(drawn.seed)), drawn.freedom) for drawn in (first, second)]
    if (freedom := freedom_of(parts)) <= 0:
        return ScoreDifference(difference, np.nan, np.nan, np.nan)
    variance = sum(part.value for part in parts)
    if variance == 0:
        return ScoreDifference(difference, difference, difference, float(difference == 0))
    error = float(np.sqrt(variance))
    margin = float(stdtrit(freedom, 0.975)) * error
    p = 2 * float(stdtr(freedom, -abs(difference) / error))
    return ScoreDifference(difference, difference - margin, difference + margin, p)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for multiple comparisons (Holm 1979); NaN stays NaN."""
    corrected = [float("nan")] * len(p)
    known = sorted((value, i) for i, value in enumerate(p) if not np.isnan(value))
    highest = 0.0
    for rank, (value, i) in enumerate(known):
        highest = max(highest, min(1.0, value * (len(known) - rank)))
        corrected[i] = highest
    return corrected


def half_width(scores: np.ndarray) -> float:
    """Half of the 95 % Student-t interval of the mean of n values; NaN for one value."""
    n = len(scores)
    return float(stdtrit(n - 1, 0.975) * scores.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
