"""All training data: one random clip of every train video. Not a distillation, but the reference on the task DATASET-full.

The board measures `gap closed` against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vddbench.data.store import Split
from vddbench.distillation.contract import About, CannotServe, Distilled
from vddbench.distillation.coresets import as_pixels
from vddbench.spec import Task

DECODER = "pixels"
PAPER = ""
ABOUT = About(family="reference", clips_per_slot=None)


@dataclass(frozen=True)
class Config:
    """No settings."""


def distill(train: Split, task: Task, config: Config, rng: np.random.Generator) -> Distilled:
    """`pixels`: clips [V, T, H, W, C] uint8 of all V train videos, in the store's order."""
    if task.ipc is not None:
        raise CannotServe(f"full keeps all training data, which fits no budget; use the task {task.dataset}-full")
    rows = np.arange(len(train))
    return as_pixels(train, rows, train.random_starts(rows, rng))
