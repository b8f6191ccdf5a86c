"""MTT on static-dynamic memories: stills learned first by static_dc, then motions and a hallucinator by matching trajectories.

Static-dynamic disentanglement (arXiv 2312.00362), see _slots.py. Each inner step draws one pair per slot. Presets 1x1
and fast_1x1 have one still and one motion, so a slot is one clip (division ipc).

Published on MiniUCF ipc 1: 23.3 +- 0.6.

Protocol v3, preset fast on movingshapes, ipc 1: 17.7 % (3 students of one set, bf16 on one thread of an Intel Xeon), `random`
23.2. The experts of this preset do not suit that dataset, see docs/baselines.md.

Protocol v3, preset fast on 10 classes of avletters, ipc 1: 34.7 % (3 students of one set, bf16 on one thread of an Intel
Xeon), significantly above `random` (12.3), not above `mean` (26.7).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from vddbench.baselines import mtt
from vddbench.baselines._slots import FAST_SLOTS, ONE_CLIP_SLOTS, Slots, slots_memory
from vddbench.data.store import Split
from vddbench.distillation.contract import About
from vddbench.distillation.static_dynamic import StaticDynamic
from vddbench.spec import Task

DECODER = "static_dynamic"
PAPER = "https://arxiv.org/abs/2312.00362"
ABOUT = About(family="trajectory matching", reads=("experts",))


@dataclass(frozen=True)
class Config(Slots, mtt.Config):
    iterations: int = 10_000  # SDD
    momentum: float = 0.95  # SDD
    lr: float = 1e4  # of the motions; SDD
    lr_hallucinator: float = 1e-3  # SDD
    student_lr_momentum: float = 0.9  # SDD
    pair_each_step: bool = True  # SDD; False: one pair per slot for all inner steps of an iteration


CONFIGS = {"miniucf-ipc5": Config(inner_steps=5, inner_batch=128, lr_of_student_lr=0.0)}  # SDD: its lr is not learned
PRESETS = {
    "fast": Config(**{**asdict(mtt.PRESETS["fast"]), **FAST_SLOTS}, pair_each_step=False),  # one pair per iteration
    "smoke": Config(
        iterations=2,
        inner_steps=1,
        max_start_epoch=1,
        num_experts=1,
        expert_batch=16,
        static_iterations=1,
        static_real_per_class=1,
    ),
    "1x1": Config(**ONE_CLIP_SLOTS),
}
PRESETS["fast_1x1"] = replace(PRESETS["fast"], **ONE_CLIP_SLOTS)


def learner(train: Split, task: Task, config: Config, seed: int, device: torch.device) -> Matching:
    """Learns the stills and trains the experts first, if they are not cached."""
    return Matching(train, slots_memory(train, task, "mtt_sdd", config, seed, device), config, seed, device)


class Matching(mtt.Matching):
    memory: StaticDynamic
    config: Config

    def draw(self, rng: np.random.Generator) -> mtt.Drawn:
        """The clips of all pairs; each inner step takes one pair of each of its slots."""
        config, count = self.config, len(self.memory.labels)
        if not config.pair_each_step:
            return super().draw(rng)
        pairs = math.prod(self.memory.per_slot)
        batches = mtt.passes(rng, count, min(config.inner_batch, count), config.inner_steps)
        rows = [slots * pairs + rng.integers(pairs, size=len(slots)) for slots in batches]
        labels = self.memory.labels.repeat_interleave(pairs)
        return mtt.Drawn(self.memory.every_clip(), labels, [torch.from_numpy(taken).to(self.device) for taken in rows])
