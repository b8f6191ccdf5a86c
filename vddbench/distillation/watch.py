"""Scores a set while it is learned: trains students on it and tests them on validation videos that distilling does not see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from vddbench.data.store import Split
from vddbench.distillation.contract import Distilled
from vddbench.evaluation.hardware import hardware_for
from vddbench.evaluation.predict import predict
from vddbench.evaluation.session import Session
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import train
from vddbench.lookup import load
from vddbench.spec import Task

QUICK_STEPS = 200  # SGD steps of such a student, or the task's if fewer: most of the accuracy in less time


@dataclass(frozen=True, kw_only=True)
class Watch:
    """When and how a set is scored: every `every` iterations, with one student of the ranked kind for each of `seeds`."""

    every: int
    validation: Split
    task: Task
    decoder: str
    device: torch.device
    seeds: tuple[int, ...] = (0,)

    def top1(self, distilled: Distilled, on_step: Callable[[int, str], None] = lambda new_steps, note: None) -> float:
        """Mean top-1 in [0, 1] of students of the payload on the validation videos. on_step: as of Session."""
        clipset = load("decoder", self.decoder).decode(distilled.tensors, self.validation.spec)
        spec = self.validation.spec
        steps = min(self.task.student_steps(spec), QUICK_STEPS)
        batch = self.task.batch_size(spec, len(clipset), convnet3d.RECIPE)
        scores = []
        for seed in self.seeds:
            hardware = hardware_for(convnet3d, self.device)
            session = Session(on_step=on_step)
            trained = train(clipset, spec, convnet3d, steps=steps, batch=batch, seed=seed, hardware=hardware, session=session)
            scores.append(predict(trained.model, self.validation, self.device).scores()["top1"])
        return sum(scores) / len(scores)


def watch_for(train: Split, task: Task, decoder: str, every: int, device: torch.device) -> tuple[Watch, Split]:
    """(a watch on the validation videos of a train split, the split without them).

    Raises ValueError if the split has no validation videos or no others.
    """
    held_out = train.index["validation"].to_numpy(bool)
    if not held_out.any() or held_out.all():
        raise ValueError(
            f"{train.dataset} has {held_out.sum()} validation videos of {len(train)}, so nothing can be watched or tuned "
            "on them; without --watch-val the iteration of the Config is submitted"
        )
    watch = Watch(every=every, validation=train.only(held_out), task=task, decoder=decoder, device=device)
    return watch, train.only(~held_out)
