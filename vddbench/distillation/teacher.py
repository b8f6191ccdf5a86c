"""Features for coreset methods, from a MiniC3D that is trained once on a store's train split. The features are cached.

They are the features before the pooling head, of the centre clip of each train video. The test videos are not read. While the
teacher trains, its checkpoint lies beside the cached file, in the format of students, so that an interrupted training resumes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.cached_work import cost_of, read_work, work_bytes, work_path
from vddbench.evaluation.hardware import Hardware, arithmetic, exact_fp32, hardware_for
from vddbench.evaluation.resume import Checkpoint
from vddbench.evaluation.session import Session
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import Trained, to_input, train
from vddbench.spec import FULL, ClipSet, ConfigValue
from vddbench.system.cache import cached
from vddbench.system.device import best_device
from vddbench.system.interrupt import interruptible
from vddbench.system.progress import bar

BATCH = 64  # clips; a quarter of a student's batch on the full data, so training takes a quarter of the time
SEED = 0
UNFINISHED = ".unfinished"  # suffix of the teacher's checkpoint
FORMAT = 3  # version of the cached file and of the teacher's training; after a change all are made again


@dataclass(frozen=True, kw_only=True)
class TeacherFeatures:
    """points: [V, D] float64, row i for video i. cost: the cost of the teacher, for the manifest."""

    points: np.ndarray
    cost: dict[str, ConfigValue]


def features(split: Split) -> TeacherFeatures:
    """Features of a train split. The teacher is trained on first use.

    Raises ValueError if the cached file is damaged, KeyboardInterrupt if the training was stopped; the next call resumes it.
    """
    path = work_path("teachers", split.dataset, [FORMAT, split.digest, split.index["video"].tolist(), BATCH, SEED])
    hardware = hardware_for(convnet3d)
    checkpoint = Checkpoint(path.with_suffix(UNFINISHED), {"teacher": path.stem, **arithmetic(hardware)})
    work = read_work(cached(path, lambda: _make(split, hardware, checkpoint)), "teacher")
    checkpoint.remove()
    return TeacherFeatures(points=work.tensor[:].numpy().astype(np.float64), cost=cost_of("teacher", work))


def _make(split: Split, hardware: Hardware, checkpoint: Checkpoint) -> bytes:
    started = time.monotonic()
    rows = np.arange(len(split))
    starts = split.random_starts(rows, np.random.default_rng(SEED))
    clips = ClipSet(clips=split.clips(rows, starts), labels=torch.from_numpy(split.labels))
    reading = time.monotonic() - started
    trained = _train(clips, split, hardware, checkpoint)
    started = time.monotonic()
    points = _embed(split, trained.model)
    seconds = reading + trained.seconds + time.monotonic() - started  # those of training are of all processes
    return work_bytes(points, seconds, 2 * len(split))  # a training clip and the centre clip of each video


def _train(clips: ClipSet, split: Split, hardware: Hardware, checkpoint: Checkpoint) -> Trained:
    """A MiniC3D that is trained on one random clip of each video, for as many steps as a student on the full data."""
    steps, batch = split.spec.student_steps[FULL], min(BATCH, len(clips))
    with bar(f"teacher on {split.dataset} (cached for later)", steps) as progress, interruptible() as stop:
        session = Session(checkpoint, on_step=progress.advance, stop=stop)
        return train(
            clips, split.spec, convnet3d, steps=steps, batch=batch, seed=SEED, hardware=hardware, session=session
        )  # fmt: skip


@torch.no_grad()
def _embed(split: Split, model: torch.nn.Module) -> torch.Tensor:
    """[V, D] float32 on the CPU."""
    assert isinstance(model, convnet3d.ConvNet3D)
    device, rows = best_device(), np.arange(len(split))
    points = []
    for batch in np.split(rows, range(BATCH, len(rows), BATCH)):
        clips = split.clips(batch, split.centre_starts(batch))
        with exact_fp32():
            points.append(model.embed(to_input(clips, split.spec, device)).float().cpu())
    return torch.cat(points)
