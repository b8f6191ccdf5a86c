"""PRISM: DM on a few key-frames per clip, linearly interpolated, where frames that pull elsewhere become key-frames.

Progressive refinement and insertion (arXiv 2505.22564): a clip starts as Gaussian noise with two key-frames, its first and its
last frame. A frame between two key-frames becomes one itself, at its interpolated value, when the gradient of the loss at that
frame has a negative cosine with the gradient at the key-frame on its left and with the one on its right; all such frames are
inserted in the same iteration. The first and the last 20 % of the iterations insert none.

A reconstruction; there is no public code. Published: the loss (DM's), the start, the insertion, its schedule and threshold, the
momentum. Ours: lr, iterations and real clips (DM's, not tuned), and that the gradient at a key-frame is taken in the decoded
clip. As a parameter, the key-frame's gradient sums over the frames between and so agrees with theirs: it would have
inserted none from iteration 60 to 120 of a run of 300 on 8 classes of 8x44x44 (4 real clips a class, one run), in which the
decoded gradient took clips from 2 to 3.25 key-frames.

The budget of a task holds T frames per clip, but not always their times: where the payload would exceed it, the frames with the
smallest cosines are inserted and the manifest counts the others (`keyframes_over_budget`).

Published on MiniUCF ipc 1: 17.9, with 2.7 to 2.8 key-frames per clip (from the printed megabytes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from vddbench.baselines import dm
from vddbench.data.store import Split
from vddbench.distillation.contract import About, Distilled
from vddbench.distillation.coresets import ipc_of
from vddbench.distillation.synthetic_clips import AFFINE_BYTES, NO_COST, Pixels, narrow_labels, real_start, to_stored
from vddbench.spec import ClipSet, DatasetSpec, Task
from vddbench.submissions.quantise import quantise

DECODER = "ragged_keyframes"
PAPER = "https://arxiv.org/abs/2505.22564"
ABOUT = About(family="distribution matching")


@dataclass(frozen=True)
class Config(dm.Config):
    momentum: float = 0.95  # PRISM
    start_mean_of: int = 0  # 0: Gaussian noise, PRISM; n: the first and last frames of means of n real clips, ours
    threshold: float = 0.0  # of both cosines; PRISM
    warm_up: float = 0.2  # share of the iterations before the first insertion; PRISM
    cool_down: float = 0.2  # share of the iterations after the last insertion; PRISM


PRESETS = {
    "fast": Config(iterations=120, real_per_class=16, updates_per_net=2, lr=300.0, momentum=0.9, final_lr=0.0, smooth=2.0),
    "smoke": Config(iterations=3, real_per_class=2, optimiser="adam", lr=0.05),
}


def learner(train: Split, task: Task, config: Config, seed: int, device: torch.device) -> Matching:
    """Raises ValueError if two key-frames per clip exceed the budget."""
    ipc, rng = ipc_of(task, "prism"), np.random.default_rng(seed)
    most = most_keyframes(task, train.spec)
    if config.start_mean_of:
        clips, labels = real_start(train, ipc, rng, config.start_mean_of)
    else:
        labels = torch.arange(train.spec.num_classes).repeat_interleave(ipc)
        noise = rng.standard_normal((len(labels), 3, *train.spec.clip_shape[:-1]), np.float32)
        clips = to_stored(torch.from_numpy(noise), train.spec)
    return Matching(train, KeyFrames(clips, labels, most, train.spec, device, config.smooth), config, seed, device)


def most_keyframes(task: Task, spec: DatasetSpec) -> int:
    """The number of key-frames of all clips that the budget holds. Raises ValueError if they are fewer than two per clip."""
    num_clips = ipc_of(task, "prism") * spec.num_classes
    labels = narrow_labels(torch.zeros(num_clips), spec)
    per_clip = labels.element_size() + counts_dtype(spec).itemsize
    frame = spec.clip_bytes // spec.frames + 1  # 1: its time
    budget = task.budget_bytes(spec) or 0
    most = (budget - AFFINE_BYTES - num_clips * per_clip) // frame
    if most < 2 * num_clips:
        raise ValueError(
            f"prism needs 2 key-frames of {frame:,} bytes for each of {num_clips:,} clips; the {budget:,} bytes of {task} hold "
            f"{most:,} key-frames: use dm, whose clips have no times"
        )
    return min(most, num_clips * spec.frames)


def counts_dtype(spec: DatasetSpec) -> torch.dtype:
    """The narrowest dtype that holds the number of key-frames of a clip."""
    return torch.uint8 if spec.frames <= 255 else torch.int16


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


class Matching(dm.Matching):
    """DM's step, then the insertion of key-frames."""

    memory: KeyFrames
    config: Config

    def step(self, iteration: int) -> torch.Tensor:
        loss = super().step(iteration)
        done = (iteration + 1) / self.config.iterations  # share of the iterations
        if self.config.warm_up < done <= 1 - self.config.cool_down:
            self.memory.insert(self.config.threshold)
        return loss

    def distilled(self) -> Distilled:
        counts = self.memory.is_key.sum(1)
        chosen = {"keyframes_per_clip": round(float(counts.float().mean()), 3), "keyframes_over_budget": self.memory.left_out}
        return Distilled(tensors=self.memory.tensors(), chosen={**chosen, **self.memory.cost})

    def state(self) -> dict[str, torch.Tensor]:
        left_out = torch.tensor(self.memory.left_out)
        return {**super().state(), "is_key": self.memory.is_key, "left_out": left_out}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        super().restore(state)
        self.memory.is_key.copy_(state["is_key"])
        self.memory.left_out = int(state["left_out"])
