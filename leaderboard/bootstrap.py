"""How sure a score, a difference, a rank is: bootstrap over test videos and over seeds, crossed. No torch.

Test videos are drawn again jointly for all entries of a dataset (whole groups where there are groups), so what makes a video
hard cancels in differences; of each entry by itself its distillations are drawn again, or the students of a single one. What
is particular to a video and a student would count in both; it is taken out of the second (see `residual`). Deviations of n
drawn things are too small by sqrt((n - 1) / n), which is put right, and that few seeds tell little of their own spread is
answered with Student's t, its degrees of freedom by Welch and Satterthwaite.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit  # Student's t: the distribution and its inverse

DRAWS = 2000
Hits = list[np.ndarray]  # of each distillation [students, videos]: was the video's answer right?
NORMAL = 1.959963984540054  # 97.5 % quantile


@dataclass(frozen=True)
class Videos:
    """The test videos of a dataset, and draws of them."""

    weights: np.ndarray  # [draws, V], rows sum to 1: how often each video is in a draw
    cluster: np.ndarray  # [V] number of the group that moves together

    @property
    def clusters(self) -> int:
        return int(self.cluster.max()) + 1


@dataclass(frozen=True)
class Drawn:
    """An entry's draws: `score` is the mean over distillations of means over students."""

    score: float
    video: np.ndarray  # [draws] deviations of the score when the test videos are others
    seed: np.ndarray  # [draws] when distillations or students are others, on the same videos
    freedom: float  # degrees of freedom of `seed`; 0 where one seed tells nothing of its spread
    twice: float  # variance that is in both, see `residual`
    clusters: int  # of test videos

    def scores(self) -> np.ndarray:
        """[draws], as wide as the number of seeds and videos leaves them unknown."""
        of_seeds = float(np.var(self.seed))
        freedom = freedom_of(
            [(max(0.0, float(np.var(self.video)) - self.twice), self.clusters - 1.0), (of_seeds, self.freedom)]
        )
        once = np.sqrt(1 - self.twice / of_seeds) if of_seeds > self.twice else 0.0
        return np.asarray(self.score + (self.video + self.seed * once) * widening(freedom))


@dataclass(frozen=True)
class Apart:
    """A difference of two scores; `p` of a difference this large between equals."""

    difference: float
    low: float
    high: float
    p: float


def drawn_videos(groups: np.ndarray, dataset: str, draws: int = DRAWS) -> Videos:
    """The same draws for all tables of a dataset. groups: [V] str, "" for a video that stands alone."""
    rng = np.random.default_rng(zlib.crc32(dataset.encode()))
    alone = [f"group {group}" if group else f"video {i}" for i, group in enumerate(groups)]
    names, cluster = np.unique(alone, return_inverse=True)
    n = len(names)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=draws)[:, cluster].astype(np.float32)
    weights /= weights.sum(1, keepdims=True)
    mean = 1 / len(groups)
    return Videos(np.asarray(mean + (weights - mean) * full_size(n), np.float32), cluster)


def full_size(n: int) -> float:
    """What makes the deviations of n drawn things as large as those of n fresh ones; 0 where one tells nothing."""
    return float(np.sqrt(n / (n - 1))) if n > 1 else 0.0


def draw(hits: Hits, videos: Videos, key: str) -> Drawn:
    """An entry's draws. key: its name, by which its own random numbers are drawn."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    means = np.array([of_set.mean(0) for of_set in hits], np.float32)  # [distillations, V]
    units = means if len(hits) > 1 else hits[0].astype(np.float32)
    score = float(units.mean())
    video = videos.weights @ units.mean(0) - score
    n = len(units)
    picked = units.mean(1)[rng.integers(n, size=(len(video), n))].mean(1)
    variance, twice, freedom = variance_of_seeds(hits, units, videos)
    return Drawn(score, video, scaled(picked - score, variance), freedom, twice, videos.clusters)


def variance_of_seeds(hits: Hits, units: np.ndarray, videos: Videos) -> tuple[float, float, float]:
    """(variance of the score by its seeds, the part of it that drawing videos finds, too, its degrees of freedom). Of several
    distillations no less than their students' part, which more of them bear out."""
    parts = [of_mean(of_set.astype(np.float32), videos) for of_set in hits]
    within, twice = (sum(part[i] for part in parts) / len(hits) ** 2 for i in (0, 1))
    freedom = float(sum(len(of_set) - 1 for of_set in hits))
    if len(hits) == 1:
        return within, twice, freedom
    between, of_both = of_mean(units, videos)
    return (between, of_both, len(hits) - 1.0) if between > within else (within, twice, freedom)


def of_mean(units: np.ndarray, videos: Videos) -> tuple[float, float]:
    """(variance of the mean of units [n, V], the part of it that drawing videos finds, too); zeros for one unit."""
    n = len(units)
    if n < 2:
        return 0.0, 0.0
    variance = float(units.mean(1).var(ddof=1)) / n
    return variance, min(variance, residual(units, videos))


def residual(units: np.ndarray, videos: Videos) -> float:
    """Variance of the mean of units [n, V] by what is particular to a unit and a video (or a group of videos).

    Drawing videos again finds it, and drawing units again finds it once more.
    """
    n, num_videos = units.shape
    own = units - units.mean(0) - (units.mean(1) - units.mean())[:, None]
    of_clusters = np.zeros((n, videos.clusters), np.float32)
    np.add.at(of_clusters.T, videos.cluster, own.T)
    return float((of_clusters**2).sum() / (num_videos**2 * n * (n - 1)) * full_size(videos.clusters) ** 2)


def scaled(deviations: np.ndarray, variance: float) -> np.ndarray:
    """Deviations of this variance."""
    spread = float(deviations.std())
    return np.asarray(deviations * (np.sqrt(variance) / spread if spread > 0 else 0.0))


def freedom_of(parts: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of variances, each given with its own (Welch, Satterthwaite); 0 when one tells nothing."""
    if any(freedom <= 0 for _, freedom in parts):
        return 0.0
    spread = sum(value**2 / freedom for value, freedom in parts)
    return float(sum(value for value, _ in parts) ** 2 / spread) if spread else min(freedom for _, freedom in parts)


def widening(freedom: float) -> float:
    """Student's t over the normal's quantile; infinite where one seed tells nothing of its spread."""
    return float(stdtrit(freedom, 0.975)) / NORMAL if freedom > 0 else float("inf")


def apart(first: Drawn, second: Drawn) -> Apart:
    """`first` minus `second`, which share their test videos. NaN where there is one seed, or one group of videos."""
    difference = first.score - second.score
    video = max(0.0, float(np.var(first.video - second.video)) - first.twice - second.twice)
    parts = [(video, first.clusters - 1.0)]
    parts += [(float(np.var(each.seed)), each.freedom) for each in (first, second)]
    if (freedom := freedom_of(parts)) <= 0:
        return Apart(difference, np.nan, np.nan, np.nan)
    variance = sum(value for value, _ in parts)
    if variance == 0:
        return Apart(difference, difference, difference, float(difference == 0))
    error = float(np.sqrt(variance))
    margin = float(stdtrit(freedom, 0.975)) * error
    p = 2 * float(stdtr(freedom, -abs(difference) / error))
    return Apart(difference, difference - margin, difference + margin, p)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979); NaN stays NaN."""
    found = [float("nan")] * len(p)
    known = sorted((value, i) for i, value in enumerate(p) if not np.isnan(value))
    highest = 0.0
    for rank, (value, i) in enumerate(known):
        highest = max(highest, min(1.0, value * (len(known) - rank)))
        found[i] = highest
    return found


def half_width(scores: np.ndarray) -> float:
    """Half of the 95 % Student-t interval of the mean of n values; NaN for one."""
    n = len(scores)
    return float(stdtrit(n - 1, 0.975) * scores.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
