"""Clips of which only key-frames are learned: what PRISM (arXiv 2505.22564) changes and stores.

Decoder `ragged_keyframes`. Frames between two key-frames are interpolated, and may become key-frames while learning.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from vddbench.distillation.synthetic_clips import NO_COST, Pixels, narrow_labels, to_stored
from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.quantise import quantise


class KeyFrames:
    """Clips of which only key-frames are learned; the frames between them are interpolated. Decoder `ragged_keyframes`.

    The learned tensor has a place for all T frames of a clip, of which `is_key` [N, T] are used, so that its shape and that of
    the optimiser's averages stay the same when a key-frame is inserted. Unused places have no gradient.
    """

    cost = NO_COST

    def __init__(
        self, clips: torch.Tensor, labels: torch.Tensor, most: int, spec: DatasetSpec, device: torch.device, smooth: float
    ) -> None:
        """clips: their first and last frames are where to start, [N, T, H, W, C] on the 0-255 scale. most: key-frames."""
        self.spec, self.labels, self.most, self.left_out = spec, labels.to(device), most, 0
        share = torch.linspace(0, 1, spec.frames)[:, None, None, None]
        start = torch.lerp(clips[:, :1].float(), clips[:, -1:].float(), share)
        self.pixels = Pixels(start, labels, spec, device, smooth)
        self.parameters = self.pixels.parameters
        self.is_key = torch.zeros((len(labels), spec.frames), dtype=torch.bool, device=device)
        self.is_key[:, [0, -1]] = True
        self.decoded: torch.Tensor | None = None  # the clips of the last iteration, which then have a gradient

    def clips(self, rng: np.random.Generator) -> torch.Tensor:
        self.decoded = interpolate(self.pixels.clips(rng), self.is_key)
        self.decoded.retain_grad()
        return self.decoded

    @torch.no_grad()
    def insert(self, threshold: float) -> None:
        """Makes key-frames of the frames whose gradient turns away from those of both neighbouring key-frames."""
        assert self.decoded is not None and self.decoded.grad is not None
        cosines = largest_cosine(self.decoded.grad, self.is_key)
        clip, time = (cosines < threshold).nonzero(as_tuple=True)
        order = cosines[clip, time].argsort(stable=True)
        taken = order[: self.most - int(self.is_key.sum())]
        self.left_out += len(order) - len(taken)
        clip, time = clip[taken], time[taken]
        learned = self.parameters["clips"]
        learned[clip, :, time] = interpolate(learned, self.is_key)[clip, :, time]
        self.is_key[clip, time] = True

    def exact(self) -> ClipSet:
        with torch.no_grad():
            clips = interpolate(self.pixels.clips(np.random.default_rng()), self.is_key)
        return ClipSet(clips=to_stored(clips, self.spec), labels=self.labels.cpu())

    def tensors(self) -> dict[str, torch.Tensor]:
        is_key = self.is_key.cpu()
        stored = quantise(self.exact().clips[is_key])
        return {
            "frames": stored.pop("pixels"),
            "times": is_key.nonzero()[:, 1].to(torch.uint8),  # a clip has at most 256 frames
            "counts": is_key.sum(1).to(counts_dtype(self.spec)),
            **stored,
            "labels": narrow_labels(self.labels, self.spec),
        }


def neighbours(is_key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """([N, T], [N, T]): the times of the last key-frame at or before each frame, and of the first one at or after it."""
    time = torch.arange(is_key.shape[1], device=is_key.device)
    left = torch.where(is_key, time, 0).cummax(1).values
    right = torch.where(is_key, time, len(time) - 1).flip(1).cummin(1).values.flip(1)
    return left, right


def interpolate(frames: torch.Tensor, is_key: torch.Tensor) -> torch.Tensor:
    """[N, C, T, H, W] of the same shape: key-frames as they are, the others in between. Differentiable in the key-frames."""
    left, right = neighbours(is_key)
    time = torch.arange(is_key.shape[1], device=is_key.device)
    share = ((time - left) / (right - left).clamp(min=1))[..., None]
    weights = F.one_hot(left, len(time)) * (1 - share) + F.one_hot(right, len(time)) * share  # [N, T, T]
    by_time = frames.permute(0, 2, 3, 4, 1)  # as synthetic clips lie in memory
    return weights.bmm(by_time.flatten(2)).view(by_time.shape).permute(0, 4, 1, 2, 3)


def largest_cosine(gradient: torch.Tensor, is_key: torch.Tensor) -> torch.Tensor:
    """[N, T]: the larger of the cosines of a frame's gradient with those of its neighbouring key-frames; 1 for key-frames.

    gradient: of the loss with respect to every frame, [N, C, T, H, W].
    """
    frames = F.normalize(gradient.transpose(1, 2).flatten(2), dim=2)  # [N, T, C*H*W]
    clip = torch.arange(len(frames), device=frames.device)[:, None]
    cosines = torch.stack([(frames * frames[clip, near]).sum(2) for near in neighbours(is_key)]).amax(0)
    return torch.where(is_key, 1.0, cosines)


def counts_dtype(spec: DatasetSpec) -> torch.dtype:
    """The narrowest dtype that holds the number of key-frames of a clip."""
    return torch.uint8 if spec.frames <= 255 else torch.int16
