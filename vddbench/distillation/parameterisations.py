"""Memories that decode to more clips than they store: grids of smaller clips (IDC), combinations of bases (LinBa)."""

from __future__ import annotations

import numpy as np
import torch

from vddbench.distillation.synthetic_clips import AFFINE_BYTES, NO_COST, Pixels, narrow_labels
from vddbench.spec import ClipSet, DatasetSpec
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
