"""Memories that decode to more clips than they store: grids of smaller clips (IDC), combinations of bases (LinBa)."""

from __future__ import annotations

import numpy as np
import torch

from vddbench.distillation.synthetic_clips import AFFINE_BYTES, NO_COST, Pixels, blurred, learnable, narrow_labels
from vddbench.spec import ClipSet, DatasetSpec, Task
from vddbench.submissions.decoders.basis import combined
from vddbench.submissions.decoders.factor import Factor, enlarged, mosaic
from vddbench.submissions.quantise import quantise

FACTOR_BYTES = 2


class Factored:
    """Smaller clips to learn, of which a stored clip holds several. Decoder `factor`."""

    cost = NO_COST

    def __init__(
        self,
        clips: torch.Tensor,
        labels: torch.Tensor,
        factor: Factor,
        spec: DatasetSpec,
        device: torch.device,
        smooth: float = 0.0,
    ) -> None:
        """clips: where to start, [S*copies, T, H, W, C] on the 0-255 scale, stored clip by stored clip; they are made smaller.

        labels: [S*copies] int64, class by class. smooth: as in synthetic_clips.Pixels, in pixels of the smaller clips. Raises
        ValueError if the factor does not fit the clips.
        """
        factor.check(spec)
        self.spec, self.factor, self.labels = spec, factor, labels.to(device)
        self.small = Pixels(reduced(clips, factor), labels, spec, device, smooth)
        self.parameters = self.small.parameters

    def clips(self, rng: np.random.Generator) -> torch.Tensor:
        return enlarged(self.small.clips(rng), self.spec.clip_shape[:3], first=2)

    def exact(self) -> ClipSet:
        return ClipSet(clips=enlarged(self.small.exact().clips, self.spec.clip_shape[:3]), labels=self.labels.cpu())

    def tensors(self) -> dict[str, torch.Tensor]:
        clips = mosaic(self.small.exact().clips, self.factor)
        labels = narrow_labels(self.labels[:: self.factor.copies], self.spec)
        if len(labels) * (8 - labels.element_size()) < AFFINE_BYTES + FACTOR_BYTES:  # too few to pay for scale and offset
            clips = clips.clamp(0, 255)
        stored = quantise(clips)
        return {
            "clips": stored.pop("pixels"),
            **stored,
            "factor": torch.tensor(self.factor, dtype=torch.uint8),
            "labels": labels,
        }


def reduced(clips: torch.Tensor, factor: Factor) -> torch.Tensor:
    """[N, T, H, W, C] -> [N, T/ft, H/fs, W/fs, C] float32: means over blocks of ft frames of fs x fs pixels."""
    count, frames, height, width, channels = clips.shape
    space, time = factor
    blocks = clips.float().reshape(
        count, frames // time, time, height // space, space, width // space, space, channels
    )  # fmt: skip
    return blocks.mean((2, 4, 6))


class Combined:
    """Bases that all classes share, and the coefficients of each clip. Decoder `basis`.

    A basis is learned on the 0-255 scale divided by 255 and by the dataset's standard deviation, so that it moves as much as a
    normalised clip of pixels does.
    """

    cost = NO_COST

    def __init__(
        self,
        bases: torch.Tensor,
        classes: torch.Tensor,
        per_class: int,
        spec: DatasetSpec,
        device: torch.device,
        smooth: float = 0.0,
    ) -> None:
        """bases: where to start, [B, T, h, w, C] on the 0-255 scale. classes: [B] int64, of the clips that they were.

        A clip starts as the mean of some bases of its class, of all bases if its class has none. smooth: as in
        synthetic_clips.Pixels.
        """
        self.spec, self.smooth = spec, smooth
        self.labels = torch.arange(spec.num_classes).repeat_interleave(per_class).to(device)
        self.std, mean = ((255 * torch.tensor(values)).reshape(1, 3, 1, 1, 1) for values in (spec.std, spec.mean))
        scaled = (bases.float().movedim(-1, 1) / self.std).to(device)
        self.offset = (mean / self.std).to(device)
        self.start = scaled if smooth else None
        self.parameters = {
            "basis": learnable(torch.zeros_like(scaled) if smooth else scaled),
            "coefficients": learnable(first_coefficients(classes, per_class, spec.num_classes).to(device)),
        }

    def basis(self) -> torch.Tensor:
        """[B, C, T, h, w], differentiable, in the units of the class's docstring."""
        learned = self.parameters["basis"]
        return learned if self.start is None else self.start + blurred(learned, self.smooth)

    def clips(self, rng: np.random.Generator) -> torch.Tensor:
        clips = combined(self.parameters["coefficients"], self.basis())
        return enlarged(clips, self.spec.clip_shape[:3], first=2) - self.offset

    def _stored(self) -> torch.Tensor:
        """[B, T, h, w, C] float32 on the 0-255 scale, on the CPU."""
        return (self.basis().detach().cpu().float() * self.std).movedim(1, -1).contiguous()

    def exact(self) -> ClipSet:
        clips = combined(self.parameters["coefficients"].detach().cpu().float(), self._stored())
        return ClipSet(clips=enlarged(clips, self.spec.clip_shape[:3]), labels=self.labels.cpu())

    def tensors(self) -> dict[str, torch.Tensor]:
        stored = quantise(self._stored())
        return {
            "basis": stored.pop("pixels"),
            **stored,
            "coefficients": self.parameters["coefficients"].detach().cpu().to(torch.float16),
            "labels": narrow_labels(self.labels, self.spec),
        }


def first_coefficients(classes: torch.Tensor, per_class: int, num_classes: int) -> torch.Tensor:
    """[K*per_class, B]: each row is the mean of the bases of its class that are dealt to it, one after the other."""
    rows = []
    for label in range(num_classes):
        own = (classes == label).nonzero()[:, 0]
        for i in range(per_class):
            dealt = own[i::per_class] if len(own) > i else own if len(own) else torch.arange(len(classes))
            row = torch.zeros(len(classes))
            row[dealt] = 1 / len(dealt)
            rows.append(row)
    return torch.stack(rows)


def bases_that_fit(task: Task, spec: DatasetSpec, side: int, per_class: int) -> int:
    """How many bases of `side` x `side` pixels the budget holds beside the coefficients and labels of all clips."""
    num_clips, label_bytes = per_class * spec.num_classes, 1 if spec.num_classes <= 256 else 2
    free = (task.budget_bytes(spec) or 0) - AFFINE_BYTES - num_clips * label_bytes
    return free // (spec.frames * side * side * 3 + 2 * num_clips)  # coefficients in float16
