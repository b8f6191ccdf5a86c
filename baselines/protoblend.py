"""ProtoBlend: for each cluster of a class, the real clip nearest its centre, blended with another member of the cluster.

Cluster-guided prototype blending (arXiv 2608.03269): of each video the clip that the teacher is most confident about; k-means of
a class's clips in the teacher's features, one cluster per slot; the pixels of the member nearest the centre are blended with
those of another member, `weight` x prototype + (1 - weight) x partner. Labels are the class; with the presets `soft` and
`fast_soft` the teacher's answers to both clips, blended alike.

Reconstruction: the weight is not known to us. Ours: the weight, the MiniC3D of the coresets as teacher, up to 5 evenly spaced
clips per video to choose from, and a random partner. With weight 1 and one clip per video it is `kmeans`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from vddbench.baselines.kmeans import centroids, nearest_clips, squared
from vddbench.data.store import Split
from vddbench.distillation.contract import About, Distilled
from vddbench.distillation.coresets import ipc_of, per_class
from vddbench.distillation.stored_clips import Labelled, as_shown, check_soft_fits, stored
from vddbench.distillation.teacher import embed, teacher
from vddbench.distillation.tubes import answers_to, whole_clips
from vddbench.spec import Task

DECODER = "pixels"
PAPER = "https://arxiv.org/abs/2608.03269"
ABOUT = About(family="selection", reads=("teacher",))


@dataclass(frozen=True)
class Config(Labelled):
    weight: float = 0.8  # of the clip nearest the centre, from 0 to 1; ours
    views: int = 5  # evenly spaced clips of a video, of which one is kept; 1: the centre clip; ours
    iterations: int = 50  # of k-means, at most; ours, as `kmeans`
    batch: int = 64  # clips through the teacher at a time; ours
    teacher_steps: int = 0  # SGD steps; 0: as many as a student on the full data, as the coresets' teacher


PRESETS = {
    "soft": Config(soft_labels=True),
    "fast": Config(views=3, teacher_steps=60),
    "fast_soft": Config(views=3, teacher_steps=60, soft_labels=True),
    "smoke": Config(views=2, teacher_steps=1),
}


def distill(train: Split, task: Task, config: Config, rng: np.random.Generator) -> Distilled:
    """`pixels`, or with soft labels `keyframes`: ipc*K clips, class by class."""
    ipc, spec = ipc_of(task, "protoblend"), train.spec
    if config.soft_labels:
        check_soft_fits(task, spec, "protoblend", "protoblend without a preset, whose labels are hard")
    taught = teacher(train, steps=config.teacher_steps)
    starts = train.even_starts(config.views) if config.views > 1 else train.centre_starts(np.arange(len(train)))[:, None]
    of_videos = [whole_clips(train, np.array([row]).repeat(starts.shape[1]), starts[row]) for row in range(len(train))]
