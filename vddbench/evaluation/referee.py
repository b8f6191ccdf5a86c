"""What a protocol decides about the students of one set: how long they train, on what, and how they are asked.

`Referee` is protocol v3, with the functions of train.py, fit.py and predict.py. sdd.py replays another protocol in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from vddbench.data.store import Split
from vddbench.evaluation.fit import Fit, measure
from vddbench.evaluation.hardware import Hardware
from vddbench.evaluation.predict import num_clips, predict
from vddbench.evaluation.session import Session
from vddbench.evaluation.students import StudentModule
from vddbench.evaluation.train import Trained, train
from vddbench.records.predictions import Predictions
from vddbench.spec import ClipSet, DatasetSpec, Task


@dataclass(frozen=True, kw_only=True)
class Referee:
    """Trains and asks the students of one set under protocol v3."""

    task: Task
    spec: DatasetSpec
    clipset: ClipSet
    student: StudentModule

    @property
    def batch(self) -> int:
        """Clips of a training step."""
        return self.task.batch_size(self.spec, len(self.clipset), self.student.RECIPE)

    @property
    def steps(self) -> int:
        return self.task.student_steps(self.spec)

    @property
    def clip_steps(self) -> int:
        """Clips that a student is trained on, counted at each step."""
        return self.steps * self.batch

    def train(self, seed: int, hardware: Hardware, session: Session | None = None) -> Trained:
        return train(
            self.clipset, self.spec, self.student,
            steps=self.steps, batch=self.batch, seed=seed, hardware=hardware, session=session,
        )  # fmt: skip

    def fit(self, model: torch.nn.Module, device: torch.device) -> Fit:
        return measure(model, self.clipset, self.spec, device)

    def num_clips(self, split: Split) -> int:
        """Clips on which `predict` runs the student."""
        return num_clips(split)

    def predict(
        self,
        model: torch.nn.Module,
        split: Split,
        seed: int,
        device: torch.device,
        on_clips: Callable[[int], None] = lambda clips: None,
    ) -> Predictions:
        """The student's answers. seed: of the student; v3 draws nothing in the test."""
        return predict(model, split, device, on_clips)
