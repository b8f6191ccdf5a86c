"""The variation of means over test videos: other videos of the same classes.

The classes of a dataset are fixed, the videos of a class are drawn. Videos of one group (a person, a scene) are drawn together,
also if the group has videos of several classes: groups of two classes are different only if their names are. A cluster is a
group, or a video without a group. The variance is that of the jackknife: each cluster is left out in turn. Each class is
compared with its own mean, so that classes of different difficulty do not widen intervals.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

DRAWS = 2000


@dataclass(frozen=True)
class Videos:
    """The test videos of a dataset in clusters, and random numbers that all its entries share."""

    cluster: np.ndarray  # [V] number of the cluster
    stratum: np.ndarray  # [V] number of the class, see `strata_of`
    factor: np.ndarray  # [V] corrects deviations from the mean of the stratum, see `jackknife_factor`
    freedom: float  # degrees of freedom of variances over videos; 0 for a single cluster
    draws: np.ndarray  # [draws, clusters] standard normal

    @property
    def clusters(self) -> int:
        return int(self.cluster.max()) + 1

    def influence(self, units: np.ndarray) -> np.ndarray:
        """[n, clusters]: how far each cluster moves the mean over videos. Its sum of squares estimates the variance.

        units: [n, V], e.g. the correct answers of n students.
        """
        num_videos = units.shape[1]
        counts = np.bincount(self.stratum)
        rows = []
        for unit in units:
            means = np.bincount(self.stratum, unit) / counts
            rows.append(np.bincount(self.cluster, (unit - means[self.stratum]) * self.factor))
        return np.asarray(np.array(rows) / num_videos)


def drawn_videos(groups: np.ndarray, labels: np.ndarray, dataset: str, draws: int = DRAWS) -> Videos:
    """A dataset's test videos, with the same draws in all its tables.

    groups: [V] str, "" if a video belongs to no group. labels: [V] class; empty if classes are not known.
    """
    rng = np.random.default_rng(zlib.crc32(dataset.encode()))
    clusters = [f"group {group}" if group else f"video {i}" for i, group in enumerate(groups)]
    names, cluster = np.unique(clusters, return_inverse=True)
    stratum = strata_of(labels if len(labels) else np.zeros(len(groups), int), cluster)
    factor = jackknife_factor(stratum, cluster)
    random = rng.standard_normal((draws, len(names)), np.float32)
    return Videos(cluster, stratum, factor, freedom_of_videos(stratum, cluster), random)


def strata_of(labels: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """[V] number of the class. Classes with a single cluster, which shows no spread, are joined; with another if alone."""
    _, stratum = np.unique(labels, return_inverse=True)
    num_clusters = np.bincount(np.unique(np.c_[stratum, cluster], axis=0)[:, 0])
    single = np.flatnonzero(num_clusters < 2)
    if len(single) == 1 and len(num_clusters) > 1:
        single = np.argsort(num_clusters, kind="stable")[:2]
    stratum = np.where(np.isin(stratum, single), len(num_clusters), stratum)
    return np.unique(stratum, return_inverse=True)[1]


def jackknife_factor(stratum: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """[V]: leaving a cluster out changes its stratum's mean by 1 / (1 - share) times its deviation; sqrt((n - 1) / n) of it."""
    pairs, pair, counts = np.unique(np.c_[stratum, cluster], axis=0, return_inverse=True, return_counts=True)
    share = counts / np.bincount(stratum)[pairs[:, 0]]
    num_clusters = np.bincount(pairs[:, 0])[pairs[:, 0]]
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(num_clusters > 1, np.sqrt((num_clusters - 1) / num_clusters) / (1 - share), 0.0)
    return np.asarray(factor[pair.reshape(-1)])


def freedom_of_videos(stratum: np.ndarray, cluster: np.ndarray) -> float:
    """Degrees of freedom of a variance over videos: n - 1 for n clusters of equal size, fewer for unequal ones.

    n clusters of unequal size count as 1 / (sum of squared shares) equal ones (Kish). Strata that share clusters count as one.
    """
    size = np.bincount(cluster)
    part = np.zeros(len(size), int)  # [clusters] its stratum, or 0 if strata share clusters
    if len(np.unique(np.c_[stratum, cluster], axis=0)) == len(size):
        part[cluster] = stratum
    of_part = np.bincount(part, size)
    squares = np.bincount(part, size**2.0) / of_part**2
    variance = squares * of_part**2.0  # of each part, as far as it follows from sizes
    spread = (variance**2 * squares / np.maximum(1 - squares, 1e-12)).sum()  # 1 / squares - 1 degrees of freedom each
    return float(variance.sum() ** 2 / spread) if len(size) > 1 else 0.0
