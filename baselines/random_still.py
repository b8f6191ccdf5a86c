"""Random real frames, each repeated to a clip: as many stills per class as the budget holds (a still costs 1/T of a clip), but
at most one still of each train video.

It measures the value of appearance alone at equal bytes. On movingshapes it cannot pass 25 %, because no single frame shows
the direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.contract import About, Distilled
from vddbench.distillation.coresets import ipc_of, per_class
from vddbench.spec import Task

DECODER = "still"
PAPER = ""
ABOUT = About(family="reference", clips_per_slot=None)


@dataclass(frozen=True)
class Config:
    """No settings."""


def distill(train: Split, task: Task, config: Config, rng: np.random.Generator) -> Distilled:
    """`still`: frames [n*K, H, W, C] uint8, class by class; int16 labels, so that more stills fit."""
    spec = train.spec
    ipc_of(task, "random_still")
    still_bytes = spec.clip_bytes // spec.frames + 2
    fits = (task.budget_bytes(spec) or 0) // spec.num_classes // still_bytes
    count = min(fits, int(np.bincount(train.labels, minlength=spec.num_classes).min()))
    rows = per_class(train, count, lambda rows: rng.choice(rows, count, replace=False))
    clips = train.clips(rows, train.random_starts(rows, rng))
    frames = clips[torch.arange(len(rows)), torch.from_numpy(rng.integers(0, spec.frames, len(rows)))]
    return Distilled(tensors={"frames": frames, "labels": torch.from_numpy(train.labels[rows].astype(np.int16))})
