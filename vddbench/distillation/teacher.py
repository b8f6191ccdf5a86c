"""Features for coreset methods: a MiniC3D trained once on a store's train split, cached by content and shared.

Features are of the centre clip of each train video, before the pooling head. Gets a train `Split`, never the test videos.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vddbench.data.store import Split
from vddbench.evaluation.hardware import exact_fp32
from vddbench.evaluation.session import Session
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import to_input, train
from vddbench.spec import FULL, ClipSet, ConfigValue
from vddbench.system.cache import cached
from vddbench.system.device import best_device
from vddbench.system.files import canonical_json
from vddbench.system.home import home
from vddbench.system.progress import bar

BATCH = 64  # clips; a quarter of a student's on the full data, for a quarter of the time
SEED = 0
FORMAT = 2  # of a cached file: raising it makes all anew


@dataclass(frozen=True, kw_only=True)
class Taught:
    """points: [V, D] float64, row i for video i. cost: what the teacher took, whenever that was, for a manifest."""

    points: np.ndarray
    cost: dict[str, ConfigValue]


def features(split: Split) -> Taught:
    """Of the centre clips of a train split. Trained on first use, then cached. Raises ValueError when the file is damaged."""
    key = hashlib.sha256(canonical_json([FORMAT, split.digest, split.index["video"].tolist(), BATCH, SEED])).hexdigest()[:16]
    path = home() / "teachers" / f"{split.dataset}-{key}.safetensors"
    return _read(cached(path, lambda: _made(split)))


def _made(split: Split) -> bytes:
    started = time.monotonic()
    found = _embed(split, _trained(split))
    read = 2 * len(split)  # a clip of each video to train on, and its centre clip
    return save({"features": found}, {"seconds": str(time.monotonic() - started), "clips_read": str(read)})


def _read(path: Path) -> Taught:
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata()
            cost: dict[str, ConfigValue] = {
                "teacher_seconds": round(float(about["seconds"]), 3),
                "teacher_clips_read": int(about["clips_read"]),
            }
            return Taught(points=file.get_tensor("features").numpy().astype(np.float64), cost=cost)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"teacher {path} is damaged ({str(error)[:200]}); delete the file and run again") from error


def _trained(split: Split) -> torch.nn.Module:
    """A MiniC3D after as many steps as a student gets on the full data, on one clip of each video."""
    rows = np.arange(len(split))
    starts = split.random_starts(rows, np.random.default_rng(SEED))
    clips = ClipSet(clips=split.clips(rows, starts), labels=torch.from_numpy(split.labels))
    steps = split.spec.student_steps[FULL]
    with bar(f"teacher on {split.dataset} (cached for later)", steps) as progress:
        return train(
            clips,
            split.spec,
            convnet3d,
            steps=steps,
            batch=min(BATCH, len(split)),
            seed=SEED,
            session=Session(on_step=progress.advance),
        ).model


@torch.no_grad()
def _embed(split: Split, model: torch.nn.Module) -> torch.Tensor:
    assert isinstance(model, convnet3d.ConvNet3D)
    device = best_device()
    rows = np.arange(len(split))
    found = []
    for i in range(0, len(rows), BATCH):
        part = rows[i : i + BATCH]
        clips = split.clips(part, split.centre_starts(part))
        with exact_fp32():
            found.append(model.embed(to_input(clips, split.spec, device)).float().cpu())
    return torch.cat(found)
