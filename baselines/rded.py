"""RDED on clips: of random crops of real clips, the ones that a teacher recognises best. Nothing is synthesised.

RDED (arXiv 2312.03526) in the form of Video-DC (2412.21197): of each of 70 videos per class, 5 random resized crops of a whole
clip; the crop with the teacher's lowest cross-entropy is the video's candidate, and the best candidates of a class are kept.
The teacher is the MiniC3D of the coresets, trained on the train split. Labels are hard; with the preset `soft` they are the
teacher's answers, as in RDED. A mosaic shows mosaic x mosaic crops in one clip; its soft label is the mean of their answers.

Published are the constants so marked. Ours: each crop has a random start of its own, a class with fewer than 70 videos gives
all it has, the crops of a mosaic are enlarged to whole clips for the teacher, where RDED pads them with zeros, and one label
per clip, where RDED labels each crop that a student sees (the protocol fixes how students train).

Protocol v3 on movingshapes, ipc 1: preset fast 23.5 %, soft 27.1 on the soft track (3 students of one set each, bf16 on one
thread of an Intel Xeon), `random` 23.2.

Protocol v3 on 10 classes of avletters, ipc 1: fast 12.0 %, soft 12.7 on the soft track (3 students of one set each, bf16 on one
thread of an Intel Xeon), `random` 12.3. With a teacher of 60 steps fast had 20.7, but less on validation: docs/baselines.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.contract import About, Distilled
from vddbench.distillation.coresets import ipc_of, rows_of
from vddbench.distillation.soft_frames import check_budget
from vddbench.distillation.stored_clips import Labelled, stored
from vddbench.distillation.teacher import QUICK_STEPS, teacher
from vddbench.distillation.tubes import Tubes, answers_to, cut, mosaics, tile_size, whole_clips
from vddbench.spec import Task

DECODER = "pixels"
PAPER = "https://arxiv.org/abs/2312.03526"
ABOUT = About(family="selection", reads=("teacher",))


@dataclass(frozen=True)
class Config(Labelled):
    videos: int = 70  # candidate videos per class; Video-DC
    crops: int = 5  # per video; RDED
    least_area: float = 0.08  # of a crop, as a share of the frame; RDED
    mosaic: int = 1  # crops a side in each clip; Video-DC; RDED has 2 on images
    batch: int = 64  # crops through the teacher at a time; ours
    teacher_steps: int = 0  # SGD steps; 0: as many as a student on the full data, as the coresets' teacher


PRESETS = {
    "soft": Config(soft_labels=True),
    "mosaic": Config(mosaic=2),
    "fast": Config(videos=20, teacher_steps=QUICK_STEPS),
    "smoke": Config(videos=4, crops=2, teacher_steps=1),
}


def distill(train: Split, task: Task, config: Config, rng: np.random.Generator) -> Distilled:
    """`pixels`, or with soft labels `keyframes`: ipc*K clips, class by class, the best recognised first."""
    ipc, spec = ipc_of(task, "rded"), train.spec
    if config.soft_labels:
        check_budget("rded", task, spec, "rded without a preset")
    tile, needed = tile_size(train, config.mosaic, "rded"), ipc * config.mosaic**2
    tubes = [candidates(train, rows_of(train, label, needed), needed, config, rng) for label in range(spec.num_classes)]
    taught = teacher(train, steps=config.teacher_steps)
    found = answers_to(train, tubes, taught, tile, config.batch, f"crops of {train.dataset}")
    tiles, labels = [], []
    for label, (of_class, probabilities) in enumerate(zip(tubes, found.probabilities, strict=True)):
        chosen = lowest(-np.log(probabilities[:, label].clip(1e-30)).reshape(-1, config.crops), needed)
        tiles.append(cut(train, of_class.only(chosen), tile))
        labels.append(probabilities[chosen].reshape(ipc, -1, spec.num_classes).mean(1))
    clips = mosaics(torch.cat(tiles), config.mosaic)
    soft, hard = torch.from_numpy(np.concatenate(labels)), torch.arange(spec.num_classes).repeat_interleave(ipc)
    tensors = stored(clips, soft if config.soft_labels else hard, spec)
    return Distilled(tensors=tensors, chosen={**taught.cost, **found.cost})


def candidates(train: Split, rows: np.ndarray, needed: int, config: Config, rng: np.random.Generator) -> Tubes:
    """`config.crops` random square crops of each of at most `config.videos` of these videos, and of at least `needed`."""
    chosen = rng.permutation(rows)[: max(config.videos, needed)].repeat(config.crops)
    clips = whole_clips(train, chosen, train.random_starts(chosen, rng))
    size = train.spec.size
    side = np.rint(size * np.sqrt(rng.uniform(config.least_area, 1, len(chosen)))).astype(np.int64)
    top, left = rng.integers(0, size - side + 1), rng.integers(0, size - side + 1)
    boxes = np.stack([top, left, side, side], 1)[:, None].repeat(train.spec.frames, 1)
    return clips._replace(boxes=boxes)


def lowest(cross_entropy: np.ndarray, count: int) -> np.ndarray:
    """[videos, crops] -> the flat indices of `count` crops: of each video its lowest, then the lowest of these, in order."""
    best = cross_entropy.argmin(1)
    order = np.argsort(cross_entropy.min(1), kind="stable")[:count]
    return np.asarray(order * cross_entropy.shape[1] + best[order])
