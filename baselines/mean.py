"""Means of real clips: splits a class's train videos into ipc random parts, and averages one clip per video in each part.

Nothing is learned, so every matching method should beat it. It is ours; no paper reports it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.contract import About, Distilled
from vddbench.distillation.coresets import ipc_of, rows_of
from vddbench.distillation.stored_clips import stored
from vddbench.spec import Task

DECODER = "pixels"
PAPER = ""
ABOUT = About(family="reference")


@dataclass(frozen=True)
class Config:
    """No settings."""


def distill(train: Split, task: Task, config: Config, rng: np.random.Generator) -> Distilled:
    """`pixels`: clips [ipc*K, T, H, W, C] uint8, class by class."""
    ipc = ipc_of(task, "mean")
    means = []
    for label in range(train.spec.num_classes):
        for rows in np.array_split(rng.permutation(rows_of(train, label, ipc)), ipc):
            means.append(train.clips(rows, train.random_starts(rows, rng)).float().mean(0))
    labels = torch.arange(train.spec.num_classes).repeat_interleave(ipc)
    return Distilled(tensors=stored(torch.stack(means), labels, train.spec))
