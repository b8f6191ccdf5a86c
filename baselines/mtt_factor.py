"""MTT on grids of smaller clips: in the bytes of one clip, 4 of half its height and width, which are enlarged (IDC).

Multi-formation (arXiv 2205.14959), see _factors.py, with the loss of `mtt`. A slot decodes to 4 clips, or with the presets time
and fast_time to 2 of half as many frames, so the set is in division open. A reconstruction: nothing is published for video.

Protocol v3, preset fast on movingshapes, ipc 1: 27.3 % (3 students of one set, bf16 on one thread of an Intel Xeon), `random`
23.2 (difference: -8.7 to +16.7 points). Preset fast_calm there: 60.5 % (5 students of one set), 5.1 points above 4 real clips
made as small (`random_small`, 55.4; difference: -7.4 to +17.7 points).

Protocol v3, preset fast on 10 classes of avletters, ipc 1: 33.0 % (3 students of one set, bf16 on one thread of an Intel
Xeon), significantly above `random` (12.3) and `mean` (26.7).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

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
    "fast": Config(**{**asdict(mtt.PRESETS["fast"]), "inner_batch": 10, "smooth": 1.0}),  # smooth: of smaller clips
    "smoke": Config(**asdict(mtt.PRESETS["smoke"])),
    "time": Config(factor_space=1, factor_time=2),
}
PRESETS["fast_time"] = replace(PRESETS["fast"], factor_space=1, factor_time=2, smooth=2.0)
# Experts that learn slowly, matched from their first epochs on, and a start from one real clip: chosen on the validation videos
# of movingshapes (leaderboard/studies/settings-mtt_factor-movingshapes-ipc1.csv), where the experts of `fast` learn in jumps.
PRESETS["fast_calm"] = replace(PRESETS["fast"], start_mean_of=1, min_start_epoch=0, max_start_epoch=5, expert_lr=0.01)


def learner(train: Split, task: Task, config: Config, seed: int, device: torch.device) -> mtt.Matching:
    """Starts from random real clips made smaller, or from means of them. Trains the experts first if they are not cached."""
    memory = factored(train, task, "mtt_factor", config, config.start_mean_of, config.smooth, seed, device)
    return mtt.Matching(train, memory, config, seed, device)
