"""Noise with ImageNet's mean and std per channel: the score of students whose clips carry no information. Expect chance.

10.2 % on movingshapes, ipc 1, protocol v3, where chance is 12.5 (3 students of one set, bf16 on one thread of an Intel Xeon).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.contract import About, Distilled
from vddbench.distillation.coresets import ipc_of
from vddbench.spec import Task

DECODER = "pixels"
PAPER = ""
ABOUT = About(family="reference")


@dataclass(frozen=True)
class Config:
    """No settings."""


def distill(train: Split, task: Task, config: Config, rng: np.random.Generator) -> Distilled:
    """`pixels`: clips [ipc*K, T, H, W, C] uint8, class by class."""
    spec = train.spec
    labels = np.repeat(np.arange(spec.num_classes), ipc_of(task, "noise"))
    values = rng.standard_normal((len(labels), *spec.clip_shape), np.float32)
    values = (values * np.array(spec.std, np.float32) + np.array(spec.mean, np.float32)) * 255
    clips = torch.from_numpy(values.clip(0, 255).round().astype(np.uint8))
    return Distilled(tensors={"clips": clips, "labels": torch.from_numpy(labels)})
