"""PRISM: DM on a few key-frames per clip, linearly interpolated, where frames that pull elsewhere become key-frames.

Progressive refinement and insertion (arXiv 2505.22564): a clip starts as Gaussian noise with two key-frames, its first and its
last frame. A frame between two key-frames becomes one itself, at its interpolated value, when the gradient of the loss at that
frame has a negative cosine with the gradient at the key-frame on its left and with the one on its right; all such frames are
inserted in the same iteration. The first and the last 20 % of the iterations insert none.

A reconstruction; there is no public code. Published: the loss (DM's), the start, the insertion, its schedule and threshold, the
momentum (0.95; preset fast has dm's 0.9). Ours: lr, iterations and real clips (DM's, not tuned), and that the gradient at a
key-frame is taken in the decoded clip. As a parameter, the key-frame's gradient sums over the frames between and so agrees with
theirs: it would have inserted none at any of the iterations looked at (every 20th from 60 to 120 of a run of 300 on 8 classes
of 8x44x44, 4 real clips a class, one run), while the decoded gradient took clips from 2 to 3.25 key-frames.

The budget of a task holds T frames per clip, but not always their times: where the payload would exceed it, the frames with the
smallest cosines are inserted and the manifest counts the refused insertions (`keyframes_over_budget`).

Published on MiniUCF ipc 1: 17.9, with 2.7 to 2.8 key-frames of 16 per clip (from the printed megabytes). Preset fast on
movingshapes, ipc 1, protocol v3: 12.8 % with 3.9 key-frames of 8 (3 students of one set, one thread of an AMD EPYC), `random`
23.2.

Protocol v3, preset fast on 10 classes of avletters, ipc 1: 12.3 % with 3.0 key-frames of 8 (3 students of one set, bf16 on one
thread of an Intel Xeon), `random` 12.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch

from vddbench.baselines import dm
from vddbench.data.store import Split
from vddbench.distillation.contract import About, CannotServe, Distilled
from vddbench.distillation.coresets import ipc_of
from vddbench.distillation.key_frames import KeyFrames, counts_dtype
from vddbench.distillation.synthetic_clips import AFFINE_BYTES, narrow_labels, real_start, to_stored
from vddbench.spec import DatasetSpec, Task

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
    # dm's, from noise. With 30 iterations and 8 real clips: 22.5 % on validation (1 student, 40 videos) of 10 letters of
    # avletters and 2.2 key-frames of 8 per clip; leaderboard/studies/
    "fast": Config(**{**asdict(dm.PRESETS["fast"]), "start_mean_of": 0}),
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
    per_clip = narrow_labels(torch.zeros(1), spec).element_size() + counts_dtype(spec).itemsize
    frame = spec.clip_bytes // spec.frames + 1  # 1: its time
    budget = task.budget_bytes(spec) or 0
    most = (budget - AFFINE_BYTES - num_clips * per_clip) // frame
    if most < 2 * num_clips:
        raise CannotServe(
            f"prism needs 2 key-frames of {frame:,} bytes for each of {num_clips:,} clips; the {budget:,} bytes of {task} hold "
            f"{most:,} key-frames: prepare the data with more --frames"
        )
    return min(most, num_clips * spec.frames)


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
