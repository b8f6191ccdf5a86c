"""Looks at a set while it is learned: a student trained on it, scored on validation videos that distilling does not see."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vddbench.data.store import Split
from vddbench.distillation.contract import Distilled
from vddbench.evaluation.predict import predict
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import train
from vddbench.lookup import load
from vddbench.spec import ClipSet, Task

QUICK_STEPS = 200  # SGD steps of a look, when the task has more: most of a student's accuracy for less of its time


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Every `every` iterations, `seeds` students of the ranked kind."""

    every: int
    validation: Split
    task: Task
    decoder: str
    device: torch.device
    seeds: tuple[int, ...] = (0,)

    def top1(self, distilled: Distilled) -> float:
        """Mean top-1 on the validation videos of what the payload decodes to."""
        return self.score(load("decoder", self.decoder).decode(distilled.tensors, self.validation.spec))

    def score(self, clipset: ClipSet) -> float:
        spec = self.validation.spec
        steps = min(self.task.student_steps(spec), QUICK_STEPS)
        batch = self.task.batch_size(spec, len(clipset), convnet3d.RECIPE)
        scores = []
        for seed in self.seeds:
            trained = train(clipset, spec, convnet3d, steps=steps, batch=batch, seed=seed, device=self.device)
            scores.append(predict(trained.model, self.validation, self.device).scores()["top1"])
        return sum(scores) / len(scores)
