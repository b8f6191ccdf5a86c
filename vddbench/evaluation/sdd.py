"""Replays the protocol of SDD's released code (arXiv 2312.00362), with its faults: docs/sdd.md names each of them.

The facts come from reading that code; none of it is copied. Released students are seeded by the clock. Here everything follows
from the student's seed, so that a score can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from vddbench.data.store import Split
from vddbench.evaluation.fit import Fit, measure
from vddbench.evaluation.hardware import Hardware, default_micro_batch, exact_fp32, resident
from vddbench.evaluation.referee import Referee
from vddbench.evaluation.sdd_predict import predict
from vddbench.evaluation.session import Session
from vddbench.evaluation.students._standardise import Standardise
from vddbench.evaluation.train import BatchGradient, Trained, batches, build, finished, to_input
from vddbench.protocol import PROTOCOL, Sdd
from vddbench.records.predictions import Predictions
from vddbench.spec import Manifest, Submission

LEARNED_LR = "learned_lr"  # the field of a manifest's config in which `mtt` writes the learning rate that it learned
STATISTICS_CLIPS = 64  # clips of a batch whose statistics are computed at once, to limit memory


def learned_lr(manifest: Manifest) -> float | None:
    """The learning rate that a submission learned for its students; None if it has none. Raises ValueError."""
    value = manifest.config.get(LEARNED_LR)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(
            f"the manifest of {manifest.task}/{manifest.folder}: config field {LEARNED_LR!r} is {str(value)[:40]!r}; "
            "protocol sdd trains with it and allows a number above 0, at most 1; correct it, or remove it for the rate 0.01"
        )
    return float(value)


def pairs_per_slot(submission: Submission) -> int:
    """How many clips each slot decodes to: P x Q of a static-dynamic set, whose clips are ordered by slot; 1 of other sets."""
    if submission.manifest.decoder != "static_dynamic":
        return 1
    return int(submission.tensors["statics"].shape[1] * submission.tensors["dynamics"].shape[1])


@dataclass(frozen=True, kw_only=True)
class Replay(Referee):
    """Trains and asks the students of one set as the released code does, but for the faults that `protocol` mends."""

    protocol: Sdd
    pairs: int = 1  # clips per slot
    learned_lr: float | None = None

    @property
    def units(self) -> int:
        """What a pass over the set goes through: slots if one pair of each is drawn, otherwise clips."""
        return len(self.clipset) // self.pairs if self.protocol.pairs == "drawn" else len(self.clipset)

    @property
    def epochs(self) -> int:
        return self.protocol.epochs + self.protocol.one_epoch_more

    @property
    def batch(self) -> int:
        limit = min(self.student.RECIPE.max_batch, self.units)
        return limit if self.protocol.length == "epochs" else self.task.batch_size(self.spec, self.units, self.student.RECIPE)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.units // self.batch)

    @property
    def steps(self) -> int:
        in_epochs = self.protocol.length == "epochs"
        return self.epochs * self.steps_per_epoch if in_epochs else self.task.student_steps(self.spec)

    @property
    def clip_steps(self) -> int:
        return self.epochs * self.units if self.protocol.length == "epochs" else self.steps * self.batch

    @property
    def first_slow_step(self) -> int:
        """The first step with the smaller learning rate: the rate drops after epoch epochs // 2 + 1, counted from 0."""
        if self.protocol.length == "steps":
            return int(self.steps * self.student.RECIPE.lr_drop_at)
        return (self.protocol.epochs // 2 + 2) * self.steps_per_epoch

    @property
    def lr(self) -> float:
        return self.learned_lr if self.learned_lr and self.protocol.lr == "learned" else self.student.RECIPE.lr

    def train(self, seed: int, hardware: Hardware, session: Session | None = None) -> Trained:
        """As `train.train`, which explains the shared parts; here the epochs, the inputs and the lost momentum differ."""
        session, recipe = session or Session(), self.student.RECIPE
        model = self.network(seed, hardware.device).train()
        sgd = torch.optim.SGD(model.parameters(), self.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
        done = session.resume(model, sgd)
        micro_batch = default_micro_batch(model, self.batch, hardware)
        gradient = ScaledGradient(self, model, hardware, min(micro_batch, done.micro_batch or micro_batch))
        clips, labels = resident(self.clipset.clips, hardware.device), self.clipset.labels.to(hardware.device)
        with exact_fp32():
            for step, rows in enumerate(self.rows(seed)):
                if step < done.step:
                    continue
                if step == self.first_slow_step and self.protocol.momentum_at_drop == "lost":
                    sgd.state.clear()  # what a new optimiser would begin with
                sgd.param_groups[0]["lr"] = self.lr * (recipe.lr_drop if step >= self.first_slow_step else 1)
                index = torch.from_numpy(rows)
                loss = gradient(clips[index.to(clips.device)], labels[index.to(labels.device)])
                if self.protocol.gradient_norm == "limited":
                    clip_grad_norm_(model.parameters(), PROTOCOL.gradient_norm)
                sgd.step()
                session.after_step(loss, gradient.micro_batch, last=step + 1 == self.steps)
        return finished(model, session, hardware)

    def network(self, seed: int, device: torch.device) -> nn.Module:
        """A new student. v3's standardisation of clips is taken out, unless it mends the scaling by batch."""
        network = build(self.student, self.spec, seed, device)
        if self.protocol.scale == "batch":
            for name in [name for name, layer in network.named_modules() if isinstance(layer, Standardise)]:
                network.set_submodule(name, nn.Identity())
        return network

    def rows(self, seed: int) -> Iterator[np.ndarray]:
        """The clips of each step: shuffled passes over the units, each in batches of which the last may be smaller."""
        rng = np.random.default_rng([seed, 1])
        pairs = self.pairs if self.protocol.pairs == "drawn" else 1
        if self.protocol.length == "steps":
            passes = batches(self.units, self.batch, self.steps, seed)
        else:
            shuffled = (rng.permutation(self.units) for _ in range(self.epochs))
            passes = (units[i : i + self.batch] for units in shuffled for i in range(0, self.units, self.batch))
        for slots in passes:
            yield slots * pairs + (rng.integers(pairs, size=len(slots)) if pairs > 1 else 0)

    def scaling(self, clips: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation (n - 1) over every number of a batch of normalised clips; 0 and 1 if clips are scaled."""
        if self.protocol.scale == "clip":
            return torch.zeros((), device=device), torch.ones((), device=device)
        parts = torch.split(clips, STATISTICS_CLIPS)
        statistics = [torch.std_mean(to_input(part, self.spec, device)) for part in parts]
        if len(parts) == 1:
            return statistics[0][1], statistics[0][0]
        counts = torch.tensor([part.numel() for part in parts], dtype=torch.float64, device=device)
        stds, means = (torch.stack(values).double() for values in zip(*statistics, strict=True))
        mean = (counts * means).sum() / counts.sum()
        variance = ((counts - 1) * stds.square() + counts * (means - mean).square()).sum() / (counts.sum() - 1)
        return mean.float(), variance.sqrt().float()

    def inputs(self, clips: torch.Tensor, device: torch.device) -> torch.Tensor:
        """[N, T, H, W, C] of one batch on the 0-255 scale -> what the network sees, [N, C, T, H, W]."""
        mean, std = self.scaling(clips, device)
        return (to_input(clips, self.spec, device) - mean) / std

    def fit(self, model: nn.Module, device: torch.device) -> Fit:
        return measure(model, self.clipset, self.spec, device, lambda clips: self.inputs(clips, device))

    def num_clips(self, split: Split) -> int:
        return (self.protocol.passes + 1) * len(split)

    def predict(
        self,
        model: nn.Module,
        split: Split,
        seed: int,
        device: torch.device,
        on_clips: Callable[[int], None] = lambda clips: None,
    ) -> Predictions:
        return predict(model, split, seed, self.protocol, lambda clips: self.inputs(clips, device), on_clips)


class ScaledGradient(BatchGradient):
    """The gradient of a batch that is scaled as a whole before it is split into forward passes."""

    def __init__(self, replay: Replay, model: nn.Module, hardware: Hardware, micro_batch: int) -> None:
        super().__init__(model, replay.spec, hardware, micro_batch)
        self.replay = replay

    def __call__(self, clips: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.mean, self.std = self.replay.scaling(clips, self.hardware.device)
        return super().__call__(clips, labels)

    def inputs(self, clips: torch.Tensor) -> torch.Tensor:
        return (super().inputs(clips) - self.mean) / self.std
