"""FRePo on static-dynamic memories: each slot has a still (by static_dc) and a motion; one hallucinator combines them.

Static-dynamic disentanglement (arXiv 2312.00362), see _slots.py; here a slot decodes to one clip. Labels are fixed.

Published on MiniUCF ipc 1: 22.0 +- 1.0, with learned labels.

Protocol v3, preset fast on movingshapes, ipc 1: 28.9 % (3 students of one set, bf16 on one thread of an Intel Xeon), `random`
23.2.

Protocol v3, preset fast on 10 classes of avletters, ipc 1: 15.7 % (3 students of one set, bf16 on one thread of an Intel
Xeon), `random` 12.3.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from vddbench.baselines import frepo
from vddbench.baselines._slots import FAST_SLOTS, Slots, slots_memory
from vddbench.data.store import Split
from vddbench.distillation.contract import About
from vddbench.spec import Task

DECODER = "static_dynamic"
PAPER = "https://arxiv.org/abs/2312.00362"
ABOUT = About(family="kernel regression")


@dataclass(frozen=True)
class Config(Slots, frepo.Config):
    iterations: int = 10_000  # SDD
    lr: float = 1e2  # of the motions, Adam; SDD
    lr_hallucinator: float = 1e-3  # SDD
    final_lr_of_motions: float = 1e-6  # share of lr; SDD's cosine ends all rates at a tenth of the hallucinator's
    stills_per_slot: int = 1  # SDD
    dynamics_per_slot: int = 1  # SDD

    def floors(self) -> dict[str, float]:
        return {**dict.fromkeys(self.rates(), self.final_lr), "dynamics": self.final_lr_of_motions}


PRESETS = {
    "fast": Config(**{**asdict(frepo.PRESETS["fast"]), **FAST_SLOTS}, final_lr_of_motions=0.1),
    "smoke": Config(iterations=2, real_batch=8, pool=2, net_updates=2, lr=0.03, static_iterations=1, static_real_per_class=1),
}


def learner(train: Split, task: Task, config: Config, seed: int, device: torch.device) -> frepo.Matching:
    """Learns the stills first if they are not cached."""
    return frepo.Matching(train, slots_memory(train, task, "frepo_sdd", config, seed, device), config, seed, device)
