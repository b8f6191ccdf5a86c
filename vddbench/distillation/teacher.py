"""Features for coreset methods, from a MiniC3D that is trained once on a store's train split. The features are cached.

They are the features before the pooling head, of the centre clip of each train video. The test videos are not read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.cached_work import cost_of, read_work, work_bytes, work_path
from vddbench.evaluation.hardware import exact_fp32
from vddbench.evaluation.session import Session
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import to_input, train
from vddbench.spec import FULL, ClipSet, ConfigValue
from vddbench.system.cache import cached
from vddbench.system.device import best_device
from vddbench.system.progress import bar

BATCH = 64  # clips; a quarter of a student's batch on the full data, so training takes a quarter of the time
SEED = 0
FORMAT = 3  # version of the cached file and of the teacher's training; after a change all are made again


@dataclass(frozen=True, kw_only=True)
class TeacherFeatures:
    """points: [V, D] float64, row i for video i. cost: the cost of the teacher, for the manifest."""

    points: np.ndarray
    cost: dict[str, ConfigValue]


def features(split: Split) -> TeacherFeatures:
    """Features of a train split. The teacher is trained on first use. Raises ValueError if the cached file is damaged."""
    path = work_path("teachers", split.dataset, [FORMAT, split.digest, split.index["video"].tolist(), BATCH, SEED])
    work = read_work(cached(path, lambda: _make(split)), "teacher")
    return TeacherFeatures(points=work.tensor[:].numpy().astype(np.float64), cost=cost_of("teacher", work))


def _make(split: Split) -> bytes:
    started = time.monotonic()
    points = _embed(split, _train(split))
    return work_bytes(points, time.monotonic() - started, 2 * len(split))  # a training clip and the centre clip of each video


def _train(split: Split) -> torch.nn.Module:
    """A MiniC3D that is trained on one random clip of each video, for as many steps as a student on the full data."""
    rows = np.arange(len(split))
    starts = split.random_starts(rows, np.random.default_rng(SEED))
    clips = ClipSet(clips=split.clips(rows, starts), labels=torch.from_numpy(split.labels))
    steps, batch = split.spec.student_steps[FULL], min(BATCH, len(split))
    with bar(f"teacher on {split.dataset} (cached for later)", steps) as progress:
        return train(
            clips, split.spec, convnet3d, steps=steps, batch=batch, seed=SEED, session=Session(on_step=progress.advance)
        ).model


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
