"""FRePo with learned labels (soft track): as `frepo`, but the labels of the regression follow the gradient too.

In the paper (arXiv 2206.00719) labels y are any real numbers, with a term that keeps one winner per clip. A payload holds
distributions, so here y is the centred softmax of learned logits, and students train on the labels that the regression used.
To pay for soft labels, T - 1 frames are stored and the last one is shown twice.

Protocol v3, preset fast on movingshapes, ipc 1: 21.2 % (3 students of one set, bf16 on one thread of an Intel Xeon), `random`
23.2.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from vddbench.baselines import frepo
from vddbench.baselines.frepo import Matching, scaled
from vddbench.data.store import Split
from vddbench.distillation.contract import About
from vddbench.distillation.coresets import ipc_of
from vddbench.distillation.soft_frames import SoftFrames, check_budget
from vddbench.distillation.synthetic_clips import real_start
from vddbench.spec import Task

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


PRESETS = {
    "fast": Config(**asdict(frepo.PRESETS["fast"]), lr_labels=0.01),
    "smoke": Config(**asdict(frepo.PRESETS["smoke"]), lr_labels=0.01),
}


def learner(train: Split, task: Task, config: Config, seed: int, device: torch.device) -> Matching:
    """Starts from random real clips. Raises ValueError if soft labels and T - 1 frames per clip do not fit the budget."""
    ipc = ipc_of(task, "frepo_soft")
    check_budget("frepo_soft", task, train.spec, "frepo")
    clips, labels = real_start(train, ipc, np.random.default_rng(seed), config.start_mean_of)
    memory = SoftFrames(clips, labels, train.spec, device, config.smooth, config.confidence)
    return Matching(train, memory, config, seed, device, lambda: scaled(memory.distributions()))
