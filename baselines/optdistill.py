"""OptDistill: mosaics of tubes, parts of real videos in which something moves, that a teacher recognises best.

Video Dataset Distillation: Enhancing Diversity and Realism. Boxes in the first frame of each train video are followed through
it, cropped to squares and scored by a teacher; the best tubes of a class are sorted by length, sped up to one length, and shown
mosaic x mosaic in one clip. Paper and released code differ, so there are two presets:

| | `paper` | `released` |
|---|---|---|
| boxes per video | 3 at random, of the class | the first 2, whatever their class |
| score | confidence in the video's class | confidence in the teacher's own answer |
| labels | soft: the mean of the answers to the tubes | hard |

Reconstruction. Both use a YOLOv5 detector (AGPL), CSRT tracking and a teacher pretrained on Kinetics. Here the teacher is the
MiniC3D of the coresets, trained on the train split, so the entry is not `external`. Detector and tracker are those of
distillation/regions.py if the user names them in the Config (then it is `external`); by default boxes lie where pixels change
most and stay there, and the manifest says `regions: motion`. Ours as well: a detector's boxes of persons in place of those of
the class, 2 x 2 tubes per clip (the paper's number is open; the released sets take 2, 4 or 16 videos per class), and the sizes
of motion boxes. Published on MiniUCF ipc 1: 18.2 +- 0.8.

Protocol v3, ipc 1 (3 students of one set each, bf16 on one thread of an Intel Xeon): on movingshapes fast 19.3 % on the soft
track, fast_released 23.2, `random` 23.2; on 10 classes of avletters fast 8.0 %, `random` 12.3, chance 10. Its clips of letters
show 2 x 2 parts of mouths, test clips a whole one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.contract import About, CannotServe, Distilled
from vddbench.distillation.coresets import ipc_of, rows_of
from vddbench.distillation.regions import detections, load_detector, motion_boxes, squares, track
from vddbench.distillation.soft_frames import check_budget
from vddbench.distillation.stored_clips import Labelled, stored
from vddbench.distillation.teacher import QUICK_STEPS, teacher
from vddbench.distillation.tubes import Tubes, answers_to, cut, mosaics, tile_size
from vddbench.spec import Task
from vddbench.system.progress import bar

DECODER = "pixels"
PAPER = "https://scholar.google.com/scholar?q=%22Video+Dataset+Distillation%22+%22Enhancing+Diversity+and+Realism%22"
ABOUT = About(family="selection", reads=("teacher",))


@dataclass(frozen=True)
class Config(Labelled):
    soft_labels: bool = True  # paper
    boxes: int = 3  # per video; paper
    only_persons: bool = True  # of a detector's boxes; ours: the paper takes those of the class
    own_class: bool = True  # score: confidence in the video's class; paper. False: in the teacher's answer; released code
    mosaic: int = 2  # tubes a side in each clip; ours
    least_area: float = 0.25  # of a motion box, as a share of the frame; ours
    detector: str = ""  # file of a detector's weights, see regions.py; "": motion
    tracker: str = ""  # "csrt" follows each box; "": boxes stay where they are in the first frame
    batch: int = 64  # tubes through the teacher at a time; ours
    teacher_steps: int = 0  # SGD steps; 0: as many as a student on the full data, as the coresets' teacher

    @property
    def reads(self) -> tuple[str, ...]:
        return ("teacher", "detector") if self.detector else ("teacher",)


RELEASED = {"soft_labels": False, "boxes": 2, "only_persons": False, "own_class": False}
PRESETS = {
    "paper": Config(),
    "released": Config(**RELEASED),  # type: ignore[arg-type]
    "fast": Config(teacher_steps=QUICK_STEPS),
    "fast_released": Config(**RELEASED, teacher_steps=QUICK_STEPS),  # type: ignore[arg-type]
    "smoke": Config(boxes=1, teacher_steps=1),
}


def distill(train: Split, task: Task, config: Config, rng: np.random.Generator) -> Distilled:
    """`keyframes`, or with hard labels `pixels`: ipc*K mosaics, class by class, those of the shortest videos first."""
    ipc, spec = ipc_of(task, "optdistill"), train.spec
    if config.soft_labels:
        check_budget("optdistill", task, spec, "--preset released")
    tile, needed = tile_size(train, config.mosaic, "optdistill"), ipc * config.mosaic**2
    tubes = candidates(train, config, rng)
    for label, of_class in enumerate(tubes):
        if len(of_class.rows) < needed:
            raise CannotServe(
                f"class {spec.class_names[label]!r} of {train.dataset} has {len(of_class.rows)} tubes in "
                f"{len(rows_of(train, label, 1))} train videos, {needed} are needed for {ipc} mosaics; use a smaller ipc, or a "
                "smaller mosaic in the method's file"
            )
    taught = teacher(train, steps=config.teacher_steps)
    found = answers_to(train, tubes, taught, tile, config.batch, f"tubes of {train.dataset}")
    tiles, soft = [], []
    for label, (of_class, answers) in enumerate(zip(tubes, found.probabilities, strict=True)):
        score = answers[:, label] if config.own_class else answers.max(1)
        best = np.argsort(-score, kind="stable")[:needed]
        chosen = best[np.argsort(train.last_starts[of_class.rows[best]], kind="stable")]  # by length
        tiles.append(cut(train, of_class.only(chosen), tile))
        soft.append(answers[chosen].reshape(ipc, -1, spec.num_classes).mean(1))
    hard = torch.arange(spec.num_classes).repeat_interleave(ipc)
    labels = torch.from_numpy(np.concatenate(soft)) if config.soft_labels else hard
    return Distilled(
        tensors=stored(mosaics(torch.cat(tiles), config.mosaic), labels, spec),
        chosen={**taught.cost, **found.cost, "regions": "detector" if config.detector else "motion"},
        external_data="a detector pretrained on COCO" if config.detector else "",
    )


def candidates(train: Split, config: Config, rng: np.random.Generator) -> list[Tubes]:
    """The tubes of each class: `config.boxes` per video, or fewer if a detector finds fewer. Their frames span the video."""
    if config.tracker not in {"", "csrt"}:
        raise ValueError(f'optdistill: tracker is {config.tracker[:40]!r}; allowed: "csrt", or "" for none')
    detector = load_detector(config.detector) if config.detector else None
    by_class = []
    with bar(f"boxes in {train.dataset}", len(train)) as progress:
        for label in range(train.spec.num_classes):
            parts: list[Tubes] = []
            for row in rows_of(train, label, 1).tolist():
                begin, num_frames = int(train.offsets[row]), int(train.last_starts[row]) + train.spec.frames
                frames = np.asarray(train.frames[begin : begin + num_frames])
                if detector is None:
                    boxes = motion_boxes(frames, config.boxes, config.least_area, rng)
                else:
                    boxes = detections(detector, frames[0], config.only_persons)
                    boxes = rng.permutation(boxes)[: config.boxes] if config.only_persons else boxes[: config.boxes]
                shown = np.linspace(0, num_frames - 1, train.spec.frames).round().astype(np.int64)  # sped up to T frames
                for box in boxes:
                    path = track(frames, box) if config.tracker else np.broadcast_to(box, (num_frames, 4))
                    parts.append(Tubes(np.array([row]), shown[None], squares(path[shown], train.spec.size)[None]))
                progress.advance()
            by_class.append(Tubes(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True))) if parts else NO_TUBES)
    return by_class


NO_TUBES = Tubes(np.zeros(0, np.int64), np.zeros((0, 0), np.int64), np.zeros((0, 0, 4), np.int64))
