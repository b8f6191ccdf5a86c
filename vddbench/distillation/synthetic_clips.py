"""The learned tensors: synthetic clips in the units that students see (normalised), and the payload that stores them.

A memory (SDD's word for it) holds learned tensors and decodes them to clips [N, C, T, H, W], differentiably. The learner of a
matching baseline changes these tensors along the gradient of its loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from vddbench.data.store import Split
from vddbench.distillation.contract import Distilled
from vddbench.distillation.coresets import disjoint_parts
from vddbench.distillation.optimiser import restore, saved
from vddbench.distillation.real_clips import random_frames
from vddbench.evaluation.train import to_input
from vddbench.spec import ClipSet, ConfigValue, DatasetSpec
from vddbench.submissions.quantise import quantise

AFFINE_BYTES = 24  # a scale and an offset, float32, for 3 channels
NO_COST: Mapping[str, ConfigValue] = MappingProxyType({})


class Memory(Protocol):
    """Learned tensors by name, and the clips they decode to."""

    parameters: dict[str, torch.Tensor]
    labels: torch.Tensor  # [N] int64, class by class
    cost: Mapping[str, ConfigValue]  # cost of the start, for the manifest; NO_COST if it starts from real clips

    def clips(self, rng: np.random.Generator) -> torch.Tensor:
        """[N, C, T, H, W] normalised, differentiable; `rng` is for memories that draw one of several clips per slot."""

    def exact(self) -> ClipSet:
        """Every clip a student will see, in float, before anything is rounded."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """The payload: quantised."""


class MemoryLearner:
    """The parts of a Learner that all matching baselines share: one memory, updated by one optimiser."""

    memory: Memory
    optimiser: torch.optim.Optimizer

    def exact(self) -> ClipSet:
        return self.memory.exact()

    def distilled(self) -> Distilled:
        return Distilled(tensors=self.memory.tensors(), chosen=dict(self.memory.cost))

    def state(self) -> dict[str, torch.Tensor]:
        return saved(self.memory.parameters, self.optimiser)

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        restore(state, self.memory.parameters, self.optimiser)


def to_stored(normalised: torch.Tensor, spec: DatasetSpec) -> torch.Tensor:
    """Normalised [N, C, ...] -> [N, ..., C] float32 on the 0-255 scale, on the CPU. The inverse of `to_input`."""
    mean, std = torch.tensor(spec.mean) * 255, torch.tensor(spec.std) * 255
    return normalised.detach().cpu().float().movedim(1, -1) * std + mean


def narrow_labels(labels: torch.Tensor, spec: DatasetSpec) -> torch.Tensor:
    """Labels as uint8 if the classes allow it, else int16: the fewest bytes that a payload can hold them in."""
    return labels.cpu().to(torch.uint8 if spec.num_classes <= 256 else torch.int16)


def learnable(value: torch.Tensor) -> torch.Tensor:
    """A copy of `value` that requires gradients, in the same memory layout."""
    return value.detach().clone(memory_format=torch.preserve_format).requires_grad_()


class Pixels:
    """`ipc` clips per class, every value learned. Decoder `pixels`.

    With `smooth` > 0 a clip is its start plus a blurred change, and the change before the blur is learned. The blur is a
    Gaussian over space whose standard deviation is `smooth` pixels. The loss is the same, but the fine detail of its gradient,
    which differs between networks, counts less than the coarse part, on which networks agree.
    """

    cost = NO_COST

    def __init__(
        self, clips: torch.Tensor, labels: torch.Tensor, spec: DatasetSpec, device: torch.device, smooth: float = 0.0
    ) -> None:
        """clips: where to start, [N, T, H, W, C] on the 0-255 scale. labels: [N] int64, class by class."""
        self.spec, self.labels, self.smooth = spec, labels.to(device), smooth
        start = to_input(clips, spec, device)
        self.start = start if smooth else None
        self.parameters = {"clips": learnable(torch.zeros_like(start) if smooth else start)}

    def clips(self, rng: np.random.Generator) -> torch.Tensor:
        return self._clips()

    def _clips(self) -> torch.Tensor:
        learned = self.parameters["clips"]
        return learned if self.start is None else self.start + blurred(learned, self.smooth)

    def exact(self) -> ClipSet:
        return ClipSet(clips=to_stored(self._clips(), self.spec), labels=self.labels.cpu())

    def tensors(self) -> dict[str, torch.Tensor]:
        clips, labels = self.exact().clips, narrow_labels(self.labels, self.spec)
        if len(labels) * (8 - labels.element_size()) < AFFINE_BYTES:  # too few clips to save the bytes of scale and offset
            clips = clips.clamp(0, 255)
        stored = quantise(clips)
        return {"clips": stored.pop("pixels"), **stored, "labels": labels}


class Stills:
    """Stills, shown for all frames of a clip: `Pixels` of one frame. Decoder `still`."""

    cost = NO_COST

    def __init__(
        self, frames: torch.Tensor, labels: torch.Tensor, spec: DatasetSpec, device: torch.device, smooth: float = 0.0
    ) -> None:
        """frames: where to start, [N, H, W, C] on the 0-255 scale. labels: [N] int64, class by class."""
        self.spec, self.labels = spec, labels.to(device)
        self.frames = Pixels(frames[:, None], labels, spec, device, smooth)
        self.parameters = self.frames.parameters

    def images(self) -> torch.Tensor:
        """[N, C, H, W] normalised, differentiable. Contiguous, because instance norm is twice as slow on channels_last."""
        return self.frames.clips(np.random.default_rng())[:, :, 0].contiguous()

    def clips(self, rng: np.random.Generator) -> torch.Tensor:
        return self.images()[:, :, None].expand(-1, -1, self.spec.frames, -1, -1)

    def exact(self) -> ClipSet:
        frames = self.frames.exact().clips[:, 0]
        return ClipSet(clips=frames[:, None].expand(-1, self.spec.frames, -1, -1, -1), labels=self.labels.cpu())

    def tensors(self) -> dict[str, torch.Tensor]:
        stored = quantise(self.frames.exact().clips[:, 0])
        return {"frames": stored.pop("pixels"), **stored, "labels": narrow_labels(self.labels, self.spec)}


def blurred(x: torch.Tensor, deviation: float) -> torch.Tensor:
    """[N, C, T, H, W] convolved over H and W with a Gaussian of `deviation` pixels, edges reflected. Differentiable."""
    reach = min(round(3 * deviation), x.shape[3] - 1, x.shape[4] - 1)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=x.device) / deviation) ** 2)
    weights = weights / weights.sum()
    planes = x.movedim(2, 1).reshape(-1, 1, *x.shape[3:])  # each frame and colour on its own
    planes = F.conv2d(F.pad(planes, (reach, reach, 0, 0), mode="reflect"), weights[None, None, None, :])
    planes = F.conv2d(F.pad(planes, (0, 0, reach, reach), mode="reflect"), weights[None, None, :, None])
    return planes.reshape(x.movedim(2, 1).shape).movedim(1, 2)


def real_start(train: Split, ipc: int, rng: np.random.Generator, mean_of: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """(clips [N, T, H, W, C] float32, labels [N]): `ipc` clips per class, each the mean of `mean_of` random real clips.

    The published value is 1: unchanged real clips. No video is in two means, so means of a small class have fewer videos.
    Raises ValueError if a class has fewer videos than `ipc`.
    """
    chosen = disjoint_parts(train, ipc, mean_of, rng)
    means = [train.clips(rows, train.random_starts(rows, rng)).float().mean(0) for rows in chosen]
    return torch.stack(means), torch.from_numpy(train.labels[[rows[0] for rows in chosen]])


def still_start(train: Split, count: int, rng: np.random.Generator, mean_of: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """(frames [N, H, W, C], labels [N]): `count` stills per class, each a random frame of another random video.

    With `mean_of` > 1 a still is the mean of that many random clips, over time too. Raises ValueError as `real_start` does.
    """
    if mean_of == 1:
        rows = np.concatenate(disjoint_parts(train, count, 1, rng))
        return random_frames(train, rows, rng), torch.from_numpy(train.labels[rows])
    clips, labels = real_start(train, count, rng, mean_of)
    return clips.mean(1), labels
