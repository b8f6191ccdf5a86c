"""FRePo with learned labels (soft track): as `frepo`, but the labels of the regression follow the gradient too.

In the paper (arXiv 2206.00719) labels y are any real numbers, with a term that keeps one winner per clip. A payload holds
distributions, so here y is the centred softmax of learned logits, and students train on the labels that the regression used.
Soft labels cost 2 K bytes per clip where the budget has 8, so T - 1 frames are stored and the last one is shown twice.

Preset fast on 10 classes of avletters, ipc 1, 200 student steps, one thread of an AMD EPYC: 21.9 % (5 students x 3
distillations, which differ: 22.0, 27.6, 16.0), +10.6 over `random` (-1.2 to +22.3), no significant difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from vddbench.baselines import frepo
from vddbench.baselines.frepo import Matching, one_hot, scaled
from vddbench.data.store import Split
from vddbench.distillation.contract import About
from vddbench.distillation.coresets import ipc_of
from vddbench.distillation.synthetic_clips import AFFINE_BYTES, NO_COST, Pixels, learnable, real_start
from vddbench.spec import ClipSet, DatasetSpec, Task
from vddbench.submissions.quantise import quantise

DECODER = "keyframes"
PAPER = frepo.PAPER
ABOUT = About(family="kernel regression", labels="soft")


@dataclass(frozen=True)
class Config(frepo.Config):
    lr_labels: float = 1e-3  # of the logits; FRePo's PyTorch code has this for pixels and labels alike
    confidence: float = 0.9  # of a clip's own class at the start; ours: at 1, as published, a softmax has no gradient

    def rates(self) -> dict[str, float]:
        """The learning rate of each parameter of the memory."""
        return {"frames": self.lr, "logits": self.lr_labels}


PRESETS = {  # as those of frepo
    "fast": Config(iterations=120, real_batch=64, pool=4, lr=0.01, lr_labels=0.01, start_mean_of=16, smooth=2.0),
    "smoke": Config(iterations=2, real_batch=8, pool=2, net_updates=2, lr=0.03, lr_labels=0.01),
}


def learner(train: Split, task: Task, config: Config, seed: int, device: torch.device) -> Matching:
    """Starts from random real clips. Raises ValueError if soft labels and T - 1 frames per clip do not fit the budget."""
    ipc = ipc_of(task, "frepo_soft")
    check_budget(task, train.spec)
    clips, labels = real_start(train, ipc, np.random.default_rng(seed), config.start_mean_of)
    memory = SoftFrames(clips, labels, train.spec, config, device)
    return Matching(train, memory, config, seed, device, lambda: scaled(memory.distributions()))


def check_budget(task: Task, spec: DatasetSpec) -> None:
    """Raises ValueError if the payload, whose size is fixed, exceeds the budget: too many classes for such small frames."""
    num_clips = ipc_of(task, "frepo_soft") * spec.num_classes
    kept = spec.frames - 1
    clip_bytes = spec.clip_bytes // spec.frames * kept + 2 * kept + 2 * spec.num_classes  # pixels, times, label
    needed, budget = num_clips * clip_bytes + AFFINE_BYTES, task.budget_bytes(spec) or 0
    if needed > budget:
        raise ValueError(
            f"frepo_soft needs {needed:,} bytes for {num_clips:,} clips of {kept} frames with labels over {spec.num_classes:,} "
            f"classes; {task} allows {budget:,}: use frepo, whose labels are hard"
        )


class SoftFrames:
    """The first T - 1 frames of each clip and the logits of its label. The last frame repeats the one before."""

    cost = NO_COST

    def __init__(
        self, clips: torch.Tensor, labels: torch.Tensor, spec: DatasetSpec, config: Config, device: torch.device
    ) -> None:
        """clips, labels: where to start, [N, T, H, W, C] on the 0-255 scale and [N] int64."""
        self.spec, self.labels = spec, labels.to(device)
        self.frames = Pixels(clips[:, :-1], labels, spec, device, config.smooth)
        lead = math.log(config.confidence * (spec.num_classes - 1) / (1 - config.confidence))
        logits = learnable(one_hot(self.labels, spec.num_classes) * lead)
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
        frames = self.frames.exact().clips
        stored = quantise(frames)
        times = torch.arange(frames.shape[1], dtype=torch.float16).repeat(len(frames), 1)  # exact up to 2,048
        labels = self.distributions().detach().cpu().to(torch.float16)
        return {"frames": stored.pop("pixels"), "times": times, **stored, "labels": labels}
