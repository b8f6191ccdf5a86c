"""ProtoBlend: for each cluster of a class, the real clip nearest its centre, blended with another member of the cluster.

Cluster-guided prototype blending (arXiv 2608.03269): of each video the clip that the teacher is most confident about; k-means
of a class's clips in the teacher's features, one cluster per slot; the pixels of the member nearest the centre are blended with
those of another member, `weight` x prototype + (1 - weight) x partner. Labels are the class; with the presets `soft` and
`fast_soft` the teacher's answers to both clips, blended alike.

Reconstruction: the weight is not known to us. Ours: the weight, the MiniC3D of the coresets as teacher, up to 5 evenly spaced
clips per video to choose from, and a random partner. With weight 1 and one clip per video it is `kmeans`.

Protocol v3, ipc 1 (3 students of one set each, bf16 on one thread of an Intel Xeon): on movingshapes fast 27.0 %, fast_soft
22.8 on the soft track, `random` 23.2; on 10 classes of avletters fast 13.0 %, fast_soft 13.0, `random` 12.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from vddbench.baselines.kmeans import centroids, nearest_clips, squared
from vddbench.data.store import Split
from vddbench.distillation.contract import About, Distilled
from vddbench.distillation.coresets import ipc_of, rows_of
from vddbench.distillation.soft_frames import check_budget
from vddbench.distillation.stored_clips import Labelled, stored
from vddbench.distillation.teacher import QUICK_STEPS, Teacher, embed, teacher
from vddbench.distillation.tubes import answers_to, whole_clips
from vddbench.spec import ConfigValue, Task

DECODER = "pixels"
PAPER = "https://arxiv.org/abs/2608.03269"
ABOUT = About(family="selection", reads=("teacher",))


@dataclass(frozen=True)
class Config(Labelled):
    # Ours; validation of movingshapes-ipc1 (96 videos): 23.4 %, with weight 0.6 18.8 (2 students each). With a teacher of 60
    # steps instead of 200: 17.7 %, with weight 1 16.7 (1 student each).
    weight: float = 0.8  # of the clip nearest the centre, from 0 to 1
    views: int = 5  # evenly spaced clips of a video, of which one is kept; 1: the centre clip; ours
    iterations: int = 50  # of k-means, at most; ours, as `kmeans`
    batch: int = 64  # clips through the teacher at a time; ours
    teacher_steps: int = 0  # SGD steps; 0: as many as a student on the full data, as the coresets' teacher


PRESETS = {
    "soft": Config(soft_labels=True),
    "fast": Config(views=3, teacher_steps=QUICK_STEPS),
    "fast_soft": Config(views=3, teacher_steps=QUICK_STEPS, soft_labels=True),
    "smoke": Config(views=2, teacher_steps=1),
}


def distill(train: Split, task: Task, config: Config, rng: np.random.Generator) -> Distilled:
    """`pixels`, or with soft labels `keyframes`: ipc*K clips, class by class. Raises ValueError for a weight outside 0 to 1."""
    ipc, spec = ipc_of(task, "protoblend"), train.spec
    if not 0 <= config.weight <= 1:
        raise ValueError(f"protoblend: weight is {config.weight:g}; allowed: from 0 to 1, where 1 blends nothing")
    if config.soft_labels:
        check_budget("protoblend", task, spec, "protoblend without a preset")
    by_class = [rows_of(train, label, ipc) for label in range(spec.num_classes)]
    taught = teacher(train, steps=config.teacher_steps)
    kept = most_confident(train, by_class, taught, config)
    points = embed(taught.model, train, np.arange(len(train)), kept.starts).numpy().astype(np.float64)
    centres = [centroids(points[rows], ipc, config.iterations, rng) for rows in by_class]
    pairs = [pairs_of(points[rows], own, rng) for rows, own in zip(by_class, centres, strict=True)]
    first, second = np.concatenate([rows[pair] for rows, pair in zip(by_class, pairs, strict=True)]).T

    def blended(values: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        return config.weight * values.float() + (1 - config.weight) * others.float()

    clips = blended(train.clips(first, kept.starts[first]), train.clips(second, kept.starts[second]))
    soft, hard = blended(kept.answers[first], kept.answers[second]), torch.from_numpy(train.labels[first])
    return Distilled(tensors=stored(clips, soft if config.soft_labels else hard, spec), chosen={**taught.cost, **kept.cost})


class Kept(NamedTuple):
    """The clip that is kept of each train video: its start [V], the teacher's answers to it [V, K], the cost of these."""

    starts: np.ndarray
    answers: torch.Tensor
    cost: dict[str, ConfigValue]


def most_confident(train: Split, by_class: list[np.ndarray], taught: Teacher, config: Config) -> Kept:
    """Of each video the clip whose class the teacher is most confident about. by_class: the rows of each class."""
    centre = train.centre_starts(np.arange(len(train)))
    views = train.even_starts(config.views) if config.views > 1 else centre[:, None]
    tubes = [whole_clips(train, rows.repeat(views.shape[1]), views[rows].ravel()) for rows in by_class]
    found = answers_to(train, tubes, taught, train.spec.size, config.batch, f"clips of {train.dataset}")
    starts, answers = centre.copy(), torch.zeros(len(train), train.spec.num_classes)
    for label, (rows, probabilities) in enumerate(zip(by_class, found.probabilities, strict=True)):
        of_views = probabilities.reshape(len(rows), -1, train.spec.num_classes)
        best = of_views[:, :, label].argmax(1)
        starts[rows] = views[rows, best]
        answers[rows] = torch.from_numpy(of_views[np.arange(len(rows)), best])
    return Kept(starts, answers, found.cost)


def pairs_of(points: np.ndarray, centres: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[n, 2] indices of points [V, D]: the nearest to each of n centres, and another of its cluster, itself if it is alone."""
    owner, pairs = squared(points, centres).argmin(1), []
    for prototype in nearest_clips(points, centres):
        others = np.flatnonzero((owner == owner[prototype]) & (np.arange(len(points)) != prototype))
        pairs.append((prototype, rng.choice(others) if len(others) else prototype))
    return np.array(pairs)
