"""MTT on grids of smaller clips: in the bytes of one clip, 4 of half its height and width, which are enlarged (IDC).

Multi-formation (arXiv 2205.14959), see _factors.py, with the loss of `mtt`. A slot decodes to 4 clips, or with the presets time
and fast_time to 2 of half as many frames, so the set is in division open. A reconstruction: nothing is published for video.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from vddbench.baselines import mtt
from vddbench.baselines._factors import Grid, factored
from vddbench.data.store import Split
from vddbench.distillation.contract import About
from vddbench.spec import Task

DECODER = "factor"
PAPER = "https://arxiv.org/abs/2205.14959"
ABOUT = About(family="trajectory matching", reads=("experts",))


@dataclass(frozen=True)
class Config(Grid, mtt.Config):
    """The settings of `mtt` and of the grid."""


PRESETS = {
    "fast": Config(  # as mtt's, with the same experts
        iterations=60,
        inner_steps=5,
        inner_batch=10,
        optimiser="adam",
        lr=0.005,
        momentum=0.9,
        final_lr=0.0,
        start_mean_of=16,
        smooth=1.0,
        student_lr=0.03,
        lr_of_student_lr=3e-4,
        student_lr_momentum=0.9,
        min_start_epoch=6,
        max_start_epoch=16,
        num_experts=3,
        expert_batch=32,
        expert_lr=0.05,
        expert_momentum=0.9,
    ),
    "smoke": Config(iterations=2, inner_steps=1, max_start_epoch=1, num_experts=1, expert_batch=16),
    "time": Config(factor_space=1, factor_time=2),
}
PRESETS["fast_time"] = replace(PRESETS["fast"], factor_space=1, factor_time=2, smooth=2.0)


def learner(train: Split, task: Task, config: Config, seed: int, device: torch.device) -> mtt.Matching:
    """Starts from random real clips made smaller, or from means of them. Trains the experts first if they are not cached."""
    memory = factored(train, task, "mtt_factor", config, config.start_mean_of, config.smooth, seed, device)
    return mtt.Matching(train, memory, config, seed, device)
