"""Shared by the methods on grids of smaller clips (IDC, arXiv 2205.14959): the settings of the grid, and the memory.

A stored clip holds factor_time x factor_space x factor_space smaller clips in the bytes of one; the decoder enlarges them. IDC
has grids of images only; its other changes (matching loss, network, augmentation) are left out. This file is not a baseline,
because its name begins with _.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.contract import CannotServe
from vddbench.distillation.coresets import ipc_of
from vddbench.distillation.parameterisations import Factored
from vddbench.distillation.synthetic_clips import real_start
from vddbench.spec import Task
from vddbench.submissions.decoders.factor import Factor


@dataclass(frozen=True)
class Grid:
    """The settings of the grid, which a Config has in addition to those of its method."""

    factor_space: int = 2  # rows and columns of smaller clips in a stored one; IDC on CIFAR-10 (3 on ImageNet subsets)
    factor_time: int = 1  # clips that share the frames of a stored one; ours: IDC has images

    @property
    def clips_per_slot(self) -> int:
        """Clips that a stored one decodes to."""
        return Factor(self.factor_space, self.factor_time).copies


def factored(
    train: Split, task: Task, method: str, config: Grid, mean_of: int, smooth: float, seed: int, device: torch.device
) -> Factored:
    """Starts from random real clips made smaller, or from means of them; no video is in two.

    Raises ValueError if the grid does not fit the clips, or if a class has fewer videos than the set decodes to.
    """
    ipc, spec = ipc_of(task, method), train.spec
    factor = Factor(config.factor_space, config.factor_time)
    factor.check(spec)
    fewest = int(np.bincount(train.labels, minlength=spec.num_classes).min())
    if fewest < ipc * factor.copies:
        raise CannotServe(
            f"{method} starts {ipc} x {factor.copies} clips per class from as many videos, and a class of {train.dataset} has "
            f"{fewest}; use a smaller ipc, or a smaller factor_space or factor_time in the method's file"
        )
    clips, labels = real_start(train, ipc * factor.copies, np.random.default_rng(seed), mean_of)
    return Factored(clips, labels, factor, spec, device, smooth)
