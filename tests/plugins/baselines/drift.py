"""Noise that drifts towards real clips, with soft labels: an iterative baseline with no part of the bundled ones.

Soft labels of few classes take no more bytes than hard ones, so whole clips fit the budget.
"""

from __future__ import annotations

import colorsys  # a module that no bundled baseline imports
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.contract import Distilled
from vddbench.distillation.real_clips import RealClips, balanced
from vddbench.spec import ClipSet, Task

DECODER = "negative"
PAPER = ""


@dataclass(frozen=True)
class Config:
    iterations: int = 40
    rate: float = 0.1
    per_class: int = 2


PRESETS = {"smoke": Config(iterations=3)}


class Drift:
    memory_knob = "per_class"

    def __init__(self, train: Split, config: Config, seed: int, device: torch.device) -> None:
        self.real, self.config = RealClips(train, balanced(train, config.per_class), seed, device), config
        grey = colorsys.rgb_to_hsv(128, 128, 128)[2]
        noise = np.random.default_rng(seed).normal(grey, 10, (train.spec.num_classes, *train.spec.clip_shape))
        self.clips = torch.from_numpy(noise).float().to(device)
        self.labels = torch.full((len(self.clips), train.spec.num_classes), 0.1).fill_diagonal_(0.9)

    def step(self, iteration: int) -> torch.Tensor:
        clips, _ = self.real.get(iteration)
        means = clips.float().unflatten(0, (len(self.clips), -1)).mean(1)
        loss = (means - self.clips).square().mean()
        self.clips += self.config.rate * (means - self.clips)
        return loss

    def exact(self) -> ClipSet:
        return ClipSet(clips=self.clips.cpu(), labels=self.labels)

    def distilled(self) -> Distilled:
        negatives = 255 - self.clips.cpu().round().clamp(0, 255).to(torch.uint8)
        return Distilled(tensors={"negatives": negatives, "labels": self.labels.half()})

    def state(self) -> dict[str, torch.Tensor]:
        return {"clips": self.clips}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        self.clips.copy_(state["clips"])


def learner(train: Split, task: Task, config: Config, seed: int, device: torch.device) -> Drift:
    if task.ipc != 1:
        raise ValueError(f"drift makes one clip a class; use {task.dataset}-ipc1")
    return Drift(train, config, seed, device)
