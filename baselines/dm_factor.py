"""DM on grids of smaller clips: in the bytes of one clip, 4 of half its height and width, which are enlarged (IDC).

Multi-formation (arXiv 2205.14959), see _factors.py, with the loss of `dm`. A slot decodes to 4 clips, or with the presets time
and fast_time to 2 of half as many frames, so the set is in division open. A reconstruction: nothing is published for video.

Preset fast on movingshapes, ipc 1, protocol v3: 34.0 % (15 students of 3 sets; the sets 35.8, 32.4 and 34.0), `random` 23.2 (15
of 3) and `dm` 18.2 (3 of one): the gain over `random` is +10.8 points (+6.2 to +15.4), of the method and not of one set. It is
not a gain of learning: 4 real clips made as small (`random_small`) score 55.4 (15 students of 3 sets).
Preset fast_time there: 22.1 % (3 students of one set, bf16 on one thread of an Intel Xeon).

Protocol v3, preset fast on 10 classes of avletters, ipc 1: 32.7 % (3 students of one set, bf16 on one thread of an Intel
Xeon), significantly above `random` (12.3), not above `mean` (26.7).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import torch

from vddbench.baselines import dm
from vddbench.baselines._factors import Grid, factored
from vddbench.data.store import Split
from vddbench.distillation.contract import About
from vddbench.spec import Task

DECODER = "factor"
PAPER = "https://arxiv.org/abs/2205.14959"
ABOUT = About(family="distribution matching")


@dataclass(frozen=True)
class Config(Grid, dm.Config):
    """The settings of `dm` and of the grid."""


PRESETS = {
    "fast": Config(**{**asdict(dm.PRESETS["fast"]), "smooth": 1.0}),  # smooth: of smaller clips
    "smoke": Config(**asdict(dm.PRESETS["smoke"])),
    "time": Config(factor_space=1, factor_time=2),
}
PRESETS["fast_time"] = replace(PRESETS["fast"], factor_space=1, factor_time=2, smooth=2.0)


def learner(train: Split, task: Task, config: Config, seed: int, device: torch.device) -> dm.Matching:
    """Starts from random real clips made smaller, or from means of them."""
    memory = factored(train, task, "dm_factor", config, config.start_mean_of, config.smooth, seed, device)
    return dm.Matching(train, memory, config, seed, device)
