"""Features for coreset methods: a MiniC3D trained once on a store's train split, cached by content and shared.

Features are of the centre clip of each train video, before the pooling head. Gets a train `Split`, never the test videos.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from safetensors.torch import load_file, save

from vddbench.atomic import canonical_json
from vddbench.cached import cached
from vddbench.place import home
from vddbench.progress import bar
from vddbench.spec import FULL, ClipSet
from vddbench.store import Split
from vddbench.students import convnet3d
from vddbench.train import best_device, to_input, train

BATCH = 64  # clips; a quarter of a student's on the full data, for a quarter of the time
SEED = 0


def features(split: Split) -> np.ndarray:
    """[V, D] float32 of the centre clips of a train split, row i for video i. Trained on first use, then cached."""
    key = hashlib.sha256(canonical_json([split.digest, split.index["video"].tolist(), BATCH, SEED])).hexdigest()[:16]
    path = home() / "teachers" / f"{split.dataset}-{key}.safetensors"
    cached(path, lambda: save({"features": _embed(split, _trained(split))}))
    found: np.ndarray = load_file(path)["features"].numpy()
    return found


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
            on_step=progress.advance,
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
        found.append(model.embed(to_input(clips, split.spec, device)).float().cpu())
    return torch.cat(found)
