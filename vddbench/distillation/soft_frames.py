"""Clips with learned labels (soft track). Their labels cost more bytes than hard ones, so one frame of each clip is left out.

Soft labels cost 2 K bytes per clip where the budget has 8, so T - 1 frames are stored and the last one is shown twice.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from vddbench.distillation.contract import CannotServe
from vddbench.distillation.coresets import ipc_of
from vddbench.distillation.stored_clips import with_soft_labels
from vddbench.distillation.synthetic_clips import AFFINE_BYTES, NO_COST, Pixels, learnable
from vddbench.spec import ClipSet, DatasetSpec, Task


def check_budget(method: str, task: Task, spec: DatasetSpec, instead: str) -> None:
    """Raises ValueError if the payload, whose size is fixed, exceeds the budget: too many classes for such small frames.

    instead: the method with hard labels, which the message recommends.
    """
    num_clips = ipc_of(task, method) * spec.num_classes
    kept = spec.frames - 1
    clip_bytes = spec.clip_bytes // spec.frames * kept + 2 * kept + 2 * spec.num_classes  # pixels, times, label
    needed, budget = num_clips * clip_bytes + AFFINE_BYTES, task.budget_bytes(spec) or 0
    if needed > budget:
        raise CannotServe(
            f"{method} needs {needed:,} bytes for {num_clips:,} clips of {kept} frames with labels over {spec.num_classes:,} "
            f"classes; {task} allows {budget:,}: use {instead}, whose labels are hard"
        )


class SoftFrames:
    """The first T - 1 frames of each clip and the logits of its label. Decoder `keyframes`."""

    cost = NO_COST

    def __init__(
        self,
        clips: torch.Tensor,
        labels: torch.Tensor,
        spec: DatasetSpec,
        device: torch.device,
        smooth: float,
        confidence: float,
    ) -> None:
        """clips, labels: where to start, [N, T, H, W, C] on the 0-255 scale and [N] int64. smooth: as in Pixels.

        confidence: probability of a clip's own class at the start, in (1/K, 1).
        """
        self.spec, self.labels = spec, labels.to(device)
        self.frames = Pixels(clips[:, :-1], labels, spec, device, smooth)
        lead = math.log(confidence * (spec.num_classes - 1) / (1 - confidence))
        logits = learnable(F.one_hot(self.labels, spec.num_classes).float() * lead)
        self.parameters = {"frames": self.frames.parameters["clips"], "logits": logits}

    def distributions(self) -> torch.Tensor:
        """The labels [N, K], differentiable."""
        return self.parameters["logits"].softmax(1)

    def clips(self, rng: np.random.Generator) -> torch.Tensor:
        frames = self.frames.clips(rng)
        return torch.cat([frames, frames[:, :, -1:]], 2)

    def exact(self) -> ClipSet:
        frames = self.frames.exact().clips
        labels = self.distributions().detach().cpu()
        return ClipSet(clips=torch.cat([frames, frames[:, -1:]], 1), labels=labels)

    def tensors(self) -> dict[str, torch.Tensor]:
        return with_soft_labels(self.frames.exact().clips, self.distributions().detach().cpu())
