"""DM on static-dynamic memories: stills learned first by static_dc, then motions and a hallucinator by matching features.

Static-dynamic disentanglement (arXiv 2312.00362): each slot has 2 stills and 2 motions, which a student sees as 4
clips. One small 3-D convolution turns pairs into clips. Each iteration draws one pair per slot. Presets 1x1 and fast_1x1 have
one still and one motion, so a slot is one clip (division ipc).

At the published lr of 1e-4 (ipc 1) the motions hardly move from the noise that they start as: 5,000 iterations along the first
gradient would move them by 0.0007 of its standard deviation (10 classes of avletters, 8 real clips per class, hallucinator
"default").

Preset fast on 10 classes of avletters, ipc 1, protocol v3, 200 student steps, one thread of an AMD EPYC: 32.0 %, fast_1x1 36.3
(3 students of one set each), `mean` 26.7, `random` 12.3. Published on MiniUCF ipc 1: 17.5 +- 0.1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import torch

from vddbench.baselines import dm
from vddbench.baselines._slots import FAST_SLOTS, ONE_CLIP_SLOTS, Slots, slots_memory
from vddbench.data.store import Split
from vddbench.distillation.contract import About
from vddbench.spec import Task

DECODER = "static_dynamic"
PAPER = "https://arxiv.org/abs/2312.00362"
ABOUT = About(family="distribution matching")


@dataclass(frozen=True)
class Config(Slots, dm.Config):
    iterations: int = 5000  # SDD
    momentum: float = 0.95  # SDD
    lr: float = 1e-4  # of the motions; SDD, ipc 1
    lr_hallucinator: float = 1e-5  # SDD, ipc 1


CONFIGS = {"miniucf-ipc5": Config(lr=1e3, lr_hallucinator=1e-6)}  # SDD
PRESETS = {
    # as dm's, half as long and with Adam, because the gradient of the motions passes through the hallucinator
    "fast": Config(**{**asdict(dm.PRESETS["fast"]), **FAST_SLOTS, "iterations": 60, "optimiser": "adam", "lr": 0.01}),
    "smoke": Config(iterations=2, real_per_class=2, static_iterations=1, static_real_per_class=1),
    "1x1": Config(**ONE_CLIP_SLOTS),
}
PRESETS["fast_1x1"] = replace(PRESETS["fast"], **ONE_CLIP_SLOTS)


def learner(train: Split, task: Task, config: Config, seed: int, device: torch.device) -> dm.Matching:
    """Learns the stills first if they are not cached."""
    return dm.Matching(train, slots_memory(train, task, "dm_sdd", config, seed, device), config, seed, device)
