"""The clips of each class with the lowest mean, stored as negatives: a baseline that makes its set in one call."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.contract import Distilled
from vddbench.distillation.coresets import ipc_of, per_class
from vddbench.spec import Task

DECODER = "negative"
PAPER = ""


@dataclass(frozen=True)
class Config:
    """No settings."""


def distill(train: Split, task: Task, config: Config, rng: np.random.Generator) -> Distilled:
    ipc = ipc_of(task, "darkest")
    clips = train.clips(np.arange(len(train)), train.random_starts(np.arange(len(train)), rng))
    means = clips.float().mean((1, 2, 3, 4)).numpy()
    rows = per_class(train, ipc, lambda rows: rows[means[rows].argsort()[:ipc]])
    return Distilled(tensors={"negatives": 255 - clips[rows], "labels": torch.from_numpy(train.labels[rows])})
