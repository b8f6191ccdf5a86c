"""Herding: clips whose running mean of features stays closest to the class mean. Source: Welling 2009, as in SDD's coresets.

Pick i minimises || (i+1) mu - sum(selected) - f || over the class's features f of a trained MiniC3D (centre clips).
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
PAPER = "https://doi.org/10.1145/1553374.1553517"
ABOUT = About(family="coreset", reads=("teacher",))


@dataclass(frozen=True)
class Config:
    """No settings."""


def herd(points: np.ndarray, count: int) -> list[int]:
    """Indices of `count` of the points [V, D], in the order in which they are picked. No index appears twice."""
    mean, total = points.mean(0), np.zeros(points.shape[1])
    chosen: list[int] = []
    for i in range(count):
        distance = np.linalg.norm((i + 1) * mean - total - points, axis=1)
        distance[chosen] = np.inf
        chosen.append(int(distance.argmin()))
        total = total + points[chosen[-1]]
    return chosen


def distill(train: Split, task: Task, config: Config, rng: np.random.Generator) -> Distilled:
    """`pixels`: clips [ipc*K, T, H, W, C] uint8: centre clips, class by class. Nothing is random."""
    ipc = ipc_of(task, "herding")
    teacher = features(train)
    rows = per_class(train, ipc, lambda rows: rows[herd(teacher.points[rows], ipc)])
    return as_pixels(train, rows, train.centre_starts(rows), teacher.cost)
