"""Random real clips as JPEG frames, as many as the budget holds, but at most one clip of each train video. No paper reports it.

The quality is chosen from a small grid, by validation top-1 of a student that is trained on clips of the other train videos.
The submitted clips are then drawn from all train videos. The test split is not read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.contract import About, CannotServe, Distilled
from vddbench.distillation.coresets import ipc_of, tuning_splits
from vddbench.evaluation.predict import top1_on
from vddbench.evaluation.students import convnet3d
from vddbench.spec import Task
from vddbench.submissions.decoders import jpeg
from vddbench.system.progress import say

DECODER = "jpeg"
PAPER = ""
ABOUT = About(family="reference", clips_per_slot=None)
OFFSET_BYTES, LABEL_BYTES = 4, 2  # int32 and int16, which count towards the budget


@dataclass(frozen=True)
class Config:
    qualities: str = "50,75,90"  # JPEG qualities to choose from; ours
    tuning_seed: int = 0  # of the students with which the quality is chosen


def distill(train: Split, task: Task, config: Config, rng: np.random.Generator) -> Distilled:
    """`jpeg`: jpeg [B], offsets [N*T+1], labels [N]: the same number of clips in every class, within the budget."""
    ipc_of(task, "random_jpeg")
    grid = [int(q) for q in config.qualities.split(",")]
    quality = best_quality(train, task, grid, config.tuning_seed)
    return Distilled(tensors=fill(train, task, quality, rng), chosen={"quality": quality})


def best_quality(train: Split, task: Task, grid: list[int], seed: int) -> int:
    """The quality with the best validation top-1, the lowest quality in a tie."""
    fit, validation = tuning_splits(train)
    scores = {}
    for quality in grid:
        clips = jpeg.decode(fill(fit, task, quality, np.random.default_rng(seed)), train.spec)
        scores[quality] = top1_on(validation, clips, task, convnet3d, seed, f"quality {quality}")
        say(f"  JPEG quality {quality}: {len(clips)} clips, validation top-1 {scores[quality]:.1%}")
    return max(sorted(grid), key=lambda quality: scores[quality])


def fill(train: Split, task: Task, quality: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """The payload: rounds of one random clip per class, until a round would exceed the budget.

    Raises ValueError if not even one round fits.
    """
    spec, budget = train.spec, task.budget_bytes(train.spec)
    assert budget is not None
    orders = [rng.permutation(np.flatnonzero(train.labels == label)) for label in range(spec.num_classes)]
    parts: list[dict[str, torch.Tensor]] = []
    spent = OFFSET_BYTES  # the last offset
    for round_rows in zip(*orders, strict=False):  # ends with the smallest class
        rows = np.array(round_rows)
        part = jpeg.encode(train.clips(rows, train.random_starts(rows, rng)), quality)
        cost = part["jpeg"].numel() + OFFSET_BYTES * (part["offsets"].numel() - 1) + LABEL_BYTES * len(rows)
        if spent + cost > budget:
            break
        spent += cost
        parts.append(part)
    if not parts:
        raise CannotServe(f"{task}: not even one clip per class fits the budget at JPEG quality {quality}")
    lengths = torch.cat([part["offsets"].diff() for part in parts])
    labels = torch.arange(spec.num_classes, dtype=torch.int16).repeat(len(parts))
    offsets = torch.cat([torch.zeros(1, dtype=torch.int32), lengths.cumsum(0, dtype=torch.int32)])
    return {"jpeg": torch.cat([part["jpeg"] for part in parts]), "offsets": offsets, "labels": labels}
