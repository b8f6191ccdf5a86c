"""Random real clips: a random clip from each of ipc random train videos per class. The floor that every method has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vddbench.data.store import Split
from vddbench.distillation.contract import About, Distilled
from vddbench.distillation.coresets import as_pixels, ipc_of, per_class
from vddbench.spec import Task

DECODER = "pixels"
PAPER = ""
ABOUT = About(family="reference")


@dataclass(frozen=True)
class Config:
    """No settings."""


def distill(train: Split, task: Task, config: Config, rng: np.random.Generator) -> Distilled:
    """`pixels`: clips [ipc*K, T, H, W, C] uint8, class by class."""
    ipc = ipc_of(task, "random")
    rows = per_class(train, ipc, lambda rows: rng.choice(rows, ipc, replace=False))
    return as_pixels(train, rows, train.random_starts(rows, rng))
