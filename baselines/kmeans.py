"""K-means: the clip nearest to each of ipc centroids of the class. Source: DC-BENCH (arXiv 2207.09639).

Features of a trained MiniC3D (centre clips); k-means++ seeding, then Lloyd's iterations.

At ipc 1 it picks the same clips as `k_center`, so there it is marked as a near-copy of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vddbench.data.store import Split
from vddbench.distillation.contract import About, Distilled
from vddbench.distillation.coresets import as_pixels, ipc_of, per_class
from vddbench.distillation.teacher import features
from vddbench.spec import Task

DECODER = "pixels"
PAPER = "https://arxiv.org/abs/2207.09639"
ABOUT = About(family="coreset", reads=("teacher",))


@dataclass(frozen=True)
class Config:
    iterations: int = 50  # at most; ours


def centroids(points: np.ndarray, count: int, iterations: int, rng: np.random.Generator) -> np.ndarray:
    """The [count, D] centres of clusters of the points [V, D]."""
    centres = points[rng.integers(len(points), size=1)]
    while len(centres) < count:  # k-means++: distant points are more likely to be chosen
        nearest = squared(points, centres).min(1)
        weights = nearest / nearest.sum() if nearest.sum() > 0 else None
        centres = np.concatenate([centres, points[rng.choice(len(points), size=1, p=weights)]])
    for _ in range(iterations):
        owner = squared(points, centres).argmin(1)
        moved = np.stack([points[owner == c].mean(0) if (owner == c).any() else centres[c] for c in range(count)])
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def squared(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """[V, count] squared distances."""
    return np.asarray(((points[:, None, :] - centres[None, :, :]) ** 2).sum(2))


def nearest_clips(points: np.ndarray, centres: np.ndarray) -> list[int]:
    """The indices of the points [V, D] nearest to each of the centres [n, D]. No index appears twice."""
    distance = squared(points, centres)
    chosen: list[int] = []
    for c in range(len(centres)):
        distance[chosen] = np.inf
        chosen.append(int(distance[:, c].argmin()))
    return chosen


def distill(train: Split, task: Task, config: Config, rng: np.random.Generator) -> Distilled:
    """`pixels`: clips [ipc*K, T, H, W, C] uint8: centre clips, class by class."""
    ipc = ipc_of(task, "kmeans")
    teacher = features(train)

    def choose(rows: np.ndarray) -> np.ndarray:
        points = teacher.points[rows]
        return rows[nearest_clips(points, centroids(points, ipc, config.iterations, rng))]

    rows = per_class(train, ipc, choose)
    return as_pixels(train, rows, train.centre_starts(rows), teacher.cost)
