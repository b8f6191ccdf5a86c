"""Payloads of clips with hard or with soft labels, and the decoder that reads each.

Hard labels: decoder `pixels`. Soft labels cost 2 K bytes per clip where the budget has 8, so T - 1 frames are stored (decoder
`keyframes`) and a student sees the last of them twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from vddbench.distillation.synthetic_clips import narrow_labels
from vddbench.spec import DatasetSpec
from vddbench.submissions.quantise import quantise


@dataclass(frozen=True)
class Labelled:
    """The setting of a Config whose payload is what `stored` returns, and the facts that follow from it."""

    soft_labels: bool = False  # the teacher's answers instead of the class

    @property
    def labels(self) -> Literal["hard", "soft"]:
        return "soft" if self.soft_labels else "hard"

    @property
    def decoder(self) -> str:
        return "keyframes" if self.soft_labels else "pixels"


def stored(clips: torch.Tensor, labels: torch.Tensor, spec: DatasetSpec) -> dict[str, torch.Tensor]:
    """The payload of clips [N, T, H, W, C] on the 0-255 scale, in 8 bits. labels: [N] classes, or [N, K] probabilities."""
    if labels.ndim == 2:
        return with_soft_labels(clips[:, :-1], labels)
    pixels = quantise(clips)
    return {"clips": pixels.pop("pixels"), **pixels, "labels": narrow_labels(labels, spec)}


def with_soft_labels(frames: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """The payload of the first T - 1 frames [N, T-1, H, W, C] of clips and their labels [N, K], float16."""
    pixels = quantise(frames)
    times = torch.arange(frames.shape[1], dtype=torch.float16).repeat(len(frames), 1)  # exact up to 2,048
    return {"frames": pixels.pop("pixels"), "times": times, **pixels, "labels": labels.to(torch.float16)}


def as_shown(clips: torch.Tensor, soft_labels: bool, dim: int) -> torch.Tensor:
    """Clips as a student will see them: with soft labels, the frame before the last is shown twice. dim: that of time."""
    if not soft_labels:
        return clips
    frames = clips.narrow(dim, 0, clips.shape[dim] - 1)
    return torch.cat([frames, frames.narrow(dim, frames.shape[dim] - 1, 1)], dim)
