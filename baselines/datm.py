"""DATM: trajectory matching with a window of expert epochs that grows, and learned labels (soft track).

Difficulty-aligned trajectory matching (arXiv 2310.05773) with the loss of `mtt`: at first students start at early epochs of the
experts only, from which easy patterns are learned, then at later ones, too. Labels begin as an expert's predictions after its
last epoch and follow the gradient. DATM starts from clips that the expert classifies correctly; here, other clips begin with
`confidence` in their own class. Labels are softmaxes, and one frame is left out to pay for them, as in `frepo_soft`.

A reconstruction: nothing is published for video, and which epochs are easy was not studied for clips.

Protocol v3, preset fast on movingshapes, ipc 1: 18.8 % (3 students of one set, bf16 on one thread of an Intel Xeon), `random`
23.2. The experts of this preset do not suit that dataset, see docs/baselines.md.

Protocol v3, preset fast on 10 classes of avletters, ipc 1: 28.0 % (3 students of one set, bf16 on one thread of an Intel Xeon),
`random` 12.3.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch.func import functional_call

from vddbench.baselines import mtt
from vddbench.data.store import Split
from vddbench.distillation.contract import About
from vddbench.distillation.coresets import ipc_of
from vddbench.distillation.experts import views
from vddbench.distillation.features import autocast
from vddbench.distillation.soft_frames import SoftFrames, check_budget
from vddbench.distillation.synthetic_clips import real_start
from vddbench.spec import Task

DECODER = "keyframes"
PAPER = "https://arxiv.org/abs/2310.05773"
ABOUT = About(family="trajectory matching", reads=("experts",), labels="soft")


@dataclass(frozen=True)
class Config(mtt.Config):
    first_max_start_epoch: int = 8  # ours: of max_start_epoch the share that DATM's code has by default, 20 of 25
    window_iterations: int = 4800  # ours: of the iterations the share that DATM's code has by default, 3,000 of 5,000
    lr_labels: float = 2.0  # of the logits; DATM's code, by default
    labels_momentum: float = 0.9  # DATM's code
    confidence: float = 0.9  # of a clip's own class at the start, where the expert is wrong; ours, as frepo_soft

    def rates(self) -> dict[str, float]:
        """The learning rate of each parameter of the memory."""
        return {"frames": self.lr, "logits": self.lr_labels}

    def momenta(self) -> dict[str, float]:
        return {**super().momenta(), "logits": self.labels_momentum}


WINDOW = {"first_max_start_epoch": 11, "window_iterations": 36}  # of mtt's fast epochs 6 to 15 first the earliest five
PRESETS = {
    "fast": Config(**{**asdict(mtt.PRESETS["fast"]), **WINDOW, "lr_labels": 0.01}),  # lr_labels: Adam's, as frepo_soft
    "smoke": Config(**{**asdict(mtt.PRESETS["smoke"]), "first_max_start_epoch": 1, "window_iterations": 1, "lr_labels": 1.0}),
}


def learner(train: Split, task: Task, config: Config, seed: int, device: torch.device) -> mtt.Matching:
    """Starts from random real clips, or from means of them. Raises ValueError if labels and T - 1 frames exceed the budget."""
    ipc = ipc_of(task, "datm")
    check_budget("datm", task, train.spec, "mtt")
    clips, labels = real_start(train, ipc, np.random.default_rng(seed), config.start_mean_of)
    memory = SoftFrames(clips, labels, train.spec, device, config.smooth, config.confidence)
    matching = mtt.Matching(train, memory, config, seed, device, memory.distributions)
    logits = memory.parameters["logits"]
    with torch.no_grad():
        predicted = predictions(matching, memory.clips(np.random.default_rng(seed)))
        logits.copy_(torch.where((predicted.argmax(1) == memory.labels)[:, None], predicted, logits))
    return matching


def predictions(matching: mtt.Matching, clips: torch.Tensor) -> torch.Tensor:
    """Logits [N, K] of the first expert after its last epoch."""
    config = matching.config
    last = config.max_start_epoch - 1
    _, theta = matching.real.start_and_target(0, last, config.expert_span, matching.device)
    with autocast(matching.device):
        logits: torch.Tensor = functional_call(matching.net, views(theta, matching.net), (clips,))
    return logits.float()
