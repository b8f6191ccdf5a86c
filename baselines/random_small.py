"""Random real clips made smaller: in the bytes of one clip, 4 of half its height and width, which the decoder enlarges.

The reference for methods on grids of smaller clips (`dm_factor`, `mtt_factor`): it has their decoder, their bytes and as many
clips per class, and nothing is learned. What they gain over `random`, but not over this, comes from the smaller clips alone.

Protocol v3 on movingshapes, ipc 1: 55.4 % (15 students of 3 sets, bf16 on one thread of an Intel Xeon), `random` 23.2. On 10
classes of avletters: 25.7 % (3 students of one set), `random` 12.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vddbench.baselines._factors import Grid, factored
from vddbench.data.store import Split
from vddbench.distillation.contract import About, Distilled
from vddbench.spec import Task

DECODER = "factor"
PAPER = ""
ABOUT = About(family="reference")


@dataclass(frozen=True)
class Config(Grid):
    """The settings of the grid."""


PRESETS = {"time": Config(factor_space=1, factor_time=2)}


def distill(train: Split, task: Task, config: Config, rng: np.random.Generator) -> Distilled:
    """Raises CannotServe if a class has fewer videos than the set decodes to."""
    seed = int(rng.integers(2**63))
    memory = factored(train, task, "random_small", config, 1, 0.0, seed, torch.device("cpu"))
    return Distilled(tensors=memory.tensors())
